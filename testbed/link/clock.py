"""The offset between two monotonic clocks and its change, each with a bound, from four timestamps an exchange.

The exchange and the bound are those of NTP (RFC 5905, section 8): nothing is assumed about how the
round trip divides into its two ways, so the bound holds for asymmetric delays too. Each exchange thus says in which
interval the offset lay at one time; `line` intersects these intervals over time. No clock is ever set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from testbed.errors import LinkError
from testbed.record.schema import ClockLine

MAX_SKEW_PPM = 1000.0
"""Two clocks that are each slewed as fast as a kernel does it, 500 ppm (Linux, adjtimex(2)), drift apart no faster."""

WALL_READINGS = 5


class Exchange(NamedTuple):
    """In ns: a ping sent at `t1` on our clock, there `t2` to `t3` on the peer's, back at `t4` on ours."""

    t1: int
    t2: int
    t3: int
    t4: int


class ClockOffset(NamedTuple):
    """The peer's clock minus ours: within `offset_ns` ± `bound_ns` at `t_ns` of ours, from the best of `exchanges`."""

    offset_ns: int
    bound_ns: int
    rtt_ns: int
    exchanges: int
    t_ns: int


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
    return ClockOffset(offset_ns, (rtt_ns + 1) // 2, rtt_ns, len(exchanges), (best.t1 + best.t4) // 2)


def line(offsets: Sequence[ClockOffset], *, node: str, repeat: int) -> ClockLine:
    """The line of a node's clock in a repeat through all offsets' intervals, at the middle of their time.

    A constant skew lies, for any two offsets, between the slopes that join the opposite ends of their intervals; it
    lies in the intersection of all of these. An offset then bounds that of any other time.

    Raises:
        LinkError: fewer than two offsets, or all at one time.
    """
    ordered = sorted(offsets, key=lambda offset: offset.t_ns)
    if not ordered or ordered[0].t_ns == ordered[-1].t_ns:
        raise LinkError("clock skew: it takes two exchanges at different times")
    slopes = [
        (_slope(first, later, -1), _slope(first, later, 1))
        for index, first in enumerate(ordered)
        for later in ordered[index + 1 :]
        if later.t_ns > first.t_ns
    ]
    low, high = max(slope for slope, _ in slopes), min(slope for _, slope in slopes)
    straight = low <= high
    slowest, fastest = low, high
    if not straight:
        low, high = _slope(ordered[0], ordered[-1], -1), _slope(ordered[0], ordered[-1], 1)
        slowest, fastest = min(low, -MAX_SKEW_PPM / 1e6), max(high, MAX_SKEW_PPM / 1e6)
    t_ns = (ordered[0].t_ns + ordered[-1].t_ns) // 2
    reach = [(each, t_ns - each.t_ns) for each in ordered]
    most = min(each.offset_ns + _bound_ns(each) + max(dt * slowest, dt * fastest) for each, dt in reach)
    least = max(each.offset_ns - _bound_ns(each) + min(dt * slowest, dt * fastest) for each, dt in reach)
    return ClockLine(
        node=node,
        repeat=repeat,
        t_ns=t_ns,
        offset_ns=round((most + least) / 2),
        bound_ns=round(abs(most - least) / 2) + 1,
        skew_ppm=(low + high) / 2 * 1e6,
        skew_bound_ppm=(high - low) / 2 * 1e6,
        straight=straight,
    )


def wall_offset_ns() -> int:
    """This machine's wall clock less its monotonic one; it changes only where the wall clock is set.

    Slewing moves both clocks alike (clock_gettime(2)). Of a few readings the one whose two clocks were read closest
    to each other counts, so that an interruption in between is not taken for a step.
    """
    readings = []
    for _ in range(WALL_READINGS):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]


def _slope(first: ClockOffset, later: ClockOffset, end: int) -> float:
    """The flattest (end -1) or steepest (1) line that joins the intervals of two offsets, in ns per ns."""
    return (later.offset_ns - first.offset_ns + end * (_bound_ns(first) + _bound_ns(later))) / (later.t_ns - first.t_ns)


def _bound_ns(offset: ClockOffset) -> float:
    """The bound at `t_ns`, while the clocks drift apart during the round trip itself."""
    return offset.bound_ns * (1 + MAX_SKEW_PPM / 1e6)


def _rtt_ns(exchange: Exchange) -> int:
    return (exchange.t4 - exchange.t1) - (exchange.t3 - exchange.t2)
