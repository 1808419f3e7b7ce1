"""The path to the cloud as it is, beside what the link's conditions come to over the same time."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from devices.links.conditions import Capacity, Direction, Link
from testbed.link import frames
from testbed.link.deadline import Deadline
from testbed.link.shaping.shaper import Shaping
from testbed.link.uplink import Uplink
from testbed.record.noderecord import PathMeasured

ROUND_TRIPS = 21
MEDIAN_OF_NORMAL = math.sqrt(math.pi / 2)
"""Standard error of the median of normal samples, in those of their mean."""
VOLLEY, FEWEST = 32, 6
"""Probes of which a rate is made, and the least of them on a link that is too slow for more."""
VOLLEY_MS = 300.0
TRIES = 3
"""How often a rate is measured until it is as asked for: a busy host disturbs one now and then, a wrong link all."""
CLOSE = 0.05
WAIT_MS = 60_000
SMALL_PROBE, LARGEST_PROBE = 64, frames.MAX_PROBE_BYTES
PROBE_FROM = 0xF000_0000
"""Numbers of probes: above those of requests, below those of the warm-up."""
HEADER_BYTES = {4: 52, 6: 72}
"""IP, TCP and its timestamps, by the version of IP: of every packet, and all of a pure acknowledgement."""


class Rate(NamedTuple):
    """Bytes of IP packets in a second: as measured, and as the link's capacity has them over the same time.

    `unsure` is the share of it by which losses may move what is measured.
    """

    measured: float
    asked: float
    unsure: float


class PathCheck:
    """Measures the path of one edge, whose link has begun anew.

    Args:
        uplink: the edge's connection, over which nothing else goes meanwhile.
        link: the conditions asked for.
        shaping: who imposes them.
    """

    def __init__(self, uplink: Uplink, link: Link, shaping: Shaping | None = "user") -> None:
        self._uplink, self._link, self._shaping = uplink, link, shaping
        self._number = PROBE_FROM
        jitter_ms = math.hypot(link.up.jitter_ms, link.down.jitter_ms)
        self._jitter_ms = 2 * MEDIAN_OF_NORMAL * jitter_ms / math.sqrt(ROUND_TRIPS)
        self._headers = HEADER_BYTES[6 if ":" in uplink.peer else 4]
        self._origin_ns: int | None = None

    def run(self, when: Literal["before", "after"]) -> PathMeasured:
        """Measure round trips, then each direction that has a rate.

        Raises:
            LinkError: the connection broke, or an echo did not come.
        """
        rtt_ms, asked_ms, unsure_ms = self._round_trips()
        up, up_tries = self._rate(self._link.up, up=True)
        down, down_tries = self._rate(self._link.down, up=False)
        return PathMeasured(
            when=when,
            rtt_ms=rtt_ms,
            rtt_ms_asked=asked_ms,
            rtt_ms_unsure=unsure_ms,
            up_bytes_per_s=None if up is None else up.measured,
            up_bytes_per_s_asked=None if up is None else up.asked,
            down_bytes_per_s=None if down is None else down.measured,
            down_bytes_per_s_asked=None if down is None else down.asked,
            lossy=self._link.loses,
            tries=max(up_tries, down_tries),
            rates_unsure=self._unsure([rate for rate in (up, down) if rate is not None]),
        )

    def _unsure(self, rates: list[Rate]) -> float | None:
        """By how much losses may move the rates; None without losses, or where a kernel's TCP gives way to them."""
        if not self._link.loses or self._shaping == "tc":
            return None
        return max((rate.unsure for rate in rates), default=0.0)

    def _round_trips(self) -> tuple[float, float, float]:
        """The median of small round trips, what the link asks for just then, and how sure that is; in ms."""
        self._uplink.spent()
        times = [self._uplink.probe(self._next(), SMALL_PROBE, 0, Deadline(WAIT_MS)) for _ in range(ROUND_TRIPS)]
        spent = self._uplink.spent()
        self._since_ms(times[0][0])
        packets = ((self._link.up, spent.up_bytes / ROUND_TRIPS), (self._link.down, spent.down_bytes / ROUND_TRIPS))
        trips = []
        for start_ns, end_ns in times:
            begun_ms = passed_ms = self._since_ms(start_ns)
            unsure_ms = 0.0
            for direction, size in packets:
                taken_ms = _passing_ms(direction, passed_ms, size)
                longer_ms = _passing_ms(direction, passed_ms, size + self._headers)
                if self._shaping == "tc":
                    # The kernel's bucket lets a small packet pass at once, as long as the ones before left room in it.
                    taken_ms = (direction.delay_ms + taken_ms) / 2
                unsure_ms += longer_ms - taken_ms
                passed_ms += taken_ms
            trips.append(((end_ns - start_ns) / 1e6, passed_ms - begun_ms, unsure_ms + self._jitter_ms))
        # Jitter is symmetric, and a packet that was sent again is an outlier.
        return sorted(trips, key=lambda trip: trip[0] - trip[1])[ROUND_TRIPS // 2]

    def _rate(self, direction: Direction, *, up: bool) -> tuple[Rate | None, int]:
        """The rate of a direction, and how often it was measured; None where none is asked for."""
        capacity = direction.capacity
        if capacity is None:
            return None, 0
        rates: list[Rate] = []
        while len(rates) < TRIES and (not rates or abs(rates[-1].measured / rates[-1].asked - 1) > CLOSE):
            rates.append(self._volley(capacity, direction, up=up))
        return min(rates, key=lambda rate: abs(rate.measured / rate.asked - 1)), len(rates)

    def _volley(self, capacity: Capacity, direction: Direction, *, up: bool) -> Rate:
        delay_ms = direction.delay_ms
        back_ms = self._link.down.delay_ms if up else 0.0
        round_trip_ms = self._link.up.delay_ms + self._link.down.delay_ms
        begin_ms = self._since_ms(self._uplink.probe(self._next(), SMALL_PROBE, 0, Deadline(WAIT_MS))[1])
        lasting_ms = max(VOLLEY_MS, 2 * round_trip_ms)
        room = capacity.carried(begin_ms + lasting_ms) - capacity.carried(begin_ms)
        # Each probe, or echo, fills whole packets, so that it has arrived just when its last packet has.
        mtu = self._link.mtu
        most = (LARGEST_PROBE + self._uplink.framing_bytes) // (mtu - self._headers)
        packets = min(most, max(1, round(room / VOLLEY / mtu)))
        count = max(FEWEST, round(room / (packets * mtu)))
        size = packets * (mtu - self._headers) - self._uplink.framing_bytes
        numbers = [self._next() for _ in range(count)]
        came = self._uplink.volley(numbers, *((size, 0) if up else (SMALL_PROBE, size)), Deadline(WAIT_MS))
        self._uplink.spent()  # no request's
        half = count // 2
        carried = packets * mtu * (count - 1 - half)
        start_ms, end_ms = (self._since_ms(came[at]) - back_ms - delay_ms for at in (half, -1))
        spent_s = (end_ms - start_ms) / 1000
        asked = (capacity.carried(max(0.0, end_ms)) - capacity.carried(max(0.0, start_ms))) / spent_s
        sent = packets * (count - 1 - half)
        return Rate(carried / spent_s, asked, _lost_share(direction.loss, sent) + round_trip_ms / 1000 / spent_s)

    def _since_ms(self, t_ns: int) -> float:
        """Time of the link: its moment 0 is when the first probe was sent."""
        if self._origin_ns is None:
            self._origin_ns = t_ns
        return (t_ns - self._origin_ns) / 1e6

    def _next(self) -> int:
        self._number += 1
        return self._number


def _lost_share(loss: float, packets: int) -> float:
    """Of a number of packets, the share that is sent again, with two standard deviations of a binomial one."""
    return loss + 2 * math.sqrt(loss * (1 - loss) / packets)


def _passing_ms(direction: Direction, begun_ms: float, size: float) -> float:
    """How long a packet of `size` bytes takes through an idle direction that it reaches at a moment of the link."""
    capacity = direction.capacity
    if capacity is None:
        return direction.delay_ms
    return direction.delay_ms + capacity.until(capacity.carried(begun_ms) + size) - begun_ms
