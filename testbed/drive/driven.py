"""A link driven through the user-space shaper, one direction after the other, and the figures of it.

Each direction is filled by itself, so that no other payload is on the link: what comes back are acknowledgements.
Delays are those of small messages while the link is quiet. Both ends are in this process and share its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np

from devices.links.conditions import Capacity, Direction, Link
from devices.links.describe import describe
from devices.links.offered import Numbers, bytes_per_second, offered, reached
from devices.links.spec import Way
from testbed.drive.ends import PROBE_BYTES, PROBES_S, Times, fill, probe
from testbed.link.shaping.packets import IPV4_HEADER_BYTES

MOST_SECONDS = 3600
QUANTILES = 199


class Seen(msgspec.Struct, kw_only=True):
    """One direction, asked for or delivered.

    `bytes_per_s` are of IP packets in each second of the link's time, None where no rate is asked for. A delay is one
    way, of a packet that meets no other; None if no probe arrived.
    """

    bytes_per_s: list[int] | None
    delay_p50_ms: float | None
    delay_p95_ms: float | None

    @property
    def mbit_s(self) -> float | None:
        """Mean over the seconds."""
        return None if self.bytes_per_s is None else 8e-6 * sum(self.bytes_per_s) / len(self.bytes_per_s)


class Driven(msgspec.Struct, kw_only=True):
    """What came of driving a link."""

    link: Link
    seconds: int
    asked: dict[Way, Seen]
    delivered: dict[Way, Seen]
    probes: dict[Way, int]

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "link": describe(self.link),
            "seconds": self.seconds,
            "asked": _flat(self.asked),
            "delivered": _flat(self.delivered),
            "probes": self.probes,
        }


def drive(link: Link, seconds: int, tell: Callable[[str], None] = lambda doing: None) -> Driven:
    """Fill each direction for so many seconds, after the delays were measured.

    Args:
        link: what is shaped.
        seconds: of each direction, from the link's moment 0 on.
        tell: told what is done next.

    Raises:
        LinkError: the shaper did not start, or ended.
    """
    tell("measuring delays")
    probed = probe(link, min(PROBES_S, seconds))
    asked: dict[Way, Seen] = {}
    delivered: dict[Way, Seen] = {}
    ways: tuple[Way, ...] = ("up", "down")
    for way in ways:
        direction = _direction(link, way)
        tell(f"filling {way} for {seconds} s")
        payload = fill(link, way, seconds)
        asked[way] = wanted(direction, seconds, probed[way])
        delays = [arrived - sent for sent, arrived in probed[way]]
        # A stream that is never short of bytes has full packets alone.
        per_payload = link.mtu / (link.mtu - IPV4_HEADER_BYTES)
        delivered[way] = _seen([round(each * per_payload) for each in payload], delays)
    return Driven(
        link=link,
        seconds=seconds,
        asked=asked,
        delivered=delivered,
        probes={way: len(probed[way]) for way in ways},
    )


def wanted(direction: Direction, seconds: int, probed: Times) -> Seen:
    """What a direction should have done with the same probes, sent when they were sent.

    A delay is the wait for capacity, propagation, and jitter in each of its quantiles.
    """
    capacity = direction.capacity
    sent = np.array([moment for moment, _ in probed] or [0.0])
    waits = np.zeros_like(sent) if capacity is None else _waits(capacity, sent)
    spread = np.zeros(1)
    if direction.jitter_ms:
        normal = NormalDist(0.0, direction.jitter_ms)
        spread = np.array([normal.inv_cdf((i + 0.5) / QUANTILES) for i in range(QUANTILES)])
    delays = waits[:, None] + np.maximum(0.0, direction.delay_ms + spread)
    each = None if capacity is None else [round(bytes_) for bytes_ in bytes_per_second(capacity, seconds).tolist()]
    return _seen(each, delays.ravel().tolist())


def _waits(capacity: Capacity, sent: Numbers) -> Numbers:
    return reached(capacity, offered(capacity, sent) + PROBE_BYTES) - sent


def _seen(each: list[int] | None, delays: Sequence[float]) -> Seen:
    p50, p95 = (None, None) if not delays else (float(each) for each in np.percentile(delays, (50, 95), method="hazen"))
    return Seen(bytes_per_s=each, delay_p50_ms=p50, delay_p95_ms=p95)


def _direction(link: Link, way: Way) -> Direction:
    return link.up if way == "up" else link.down


def _flat(seen: dict[Way, Seen]) -> dict[str, Any]:
    return {
        f"{way}_{name}": round(value, 4) if isinstance(value, float) else value
        for way, one in seen.items()
        for name, value in (("mbit_s", one.mbit_s), *msgspec.structs.asdict(one).items())
    }
