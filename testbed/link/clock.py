"""The offset between two monotonic clocks, with a bound, from four timestamps an exchange.

The exchange and the bound are those of NTP (RFC 5905, section 8): nothing is assumed about how the
round trip divides into its two ways, so the bound holds for asymmetric delays too. It does not cover
drift: estimate before and after a measurement and compare. No clock is ever set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from testbed.errors import LinkError


class Exchange(NamedTuple):
    """In ns: a ping sent at `t1` on our clock, there `t2` to `t3` on the peer's, back at `t4` on ours."""

    t1: int
    t2: int
    t3: int
    t4: int


class ClockOffset(NamedTuple):
    """The peer's clock minus ours: within `offset_ns` ± `bound_ns`, from the best of `exchanges`."""

    offset_ns: int
    bound_ns: int
    rtt_ns: int
    exchanges: int


def estimate(exchanges: Sequence[Exchange]) -> ClockOffset:
    """Offset from the exchange with the shortest round trip; its half bounds the error.

    Raises:
        LinkError: no exchange, or one whose clocks ran backwards.
    """
    if not exchanges:
        raise LinkError("clock offset: no ping was answered")
    for exchange in exchanges:
        if exchange.t3 < exchange.t2 or _rtt_ns(exchange) < 0:
            raise LinkError(f"clock offset: {exchange} cannot be, a clock ran backwards or was set")
    best = min(exchanges, key=_rtt_ns)
    rtt_ns = _rtt_ns(best)
    # Halves are rounded up, so that the bound still holds in whole nanoseconds.
    offset_ns = ((best.t2 - best.t1) + (best.t3 - best.t4)) // 2
    return ClockOffset(offset_ns, (rtt_ns + 1) // 2, rtt_ns, len(exchanges))


def _rtt_ns(exchange: Exchange) -> int:
    return (exchange.t4 - exchange.t1) - (exchange.t3 - exchange.t2)
