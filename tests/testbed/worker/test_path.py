"""The path is measured with probes and held against the link; here over a made path whose times are exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from devices.links.conditions import Capacity, Direction, Link
from testbed.link.deadline import Deadline
from testbed.link.uplink import Wire
from testbed.worker.path import PathCheck

PROBE_BYTES = 128
MTU, HEADERS, FRAMING = 1500, 52, 58


def direction(mbit_s: float | None = 8.0, delay_ms: float = 10.0, loss: float = 0.0) -> Direction:
    rate = None if mbit_s is None else Capacity(ms=[0, 1000], bytes=[0, round(mbit_s * 125_000)])
    return Direction(capacity=rate, delay_ms=delay_ms, loss=loss)


def link(up: Direction | None = None, down: Direction | None = None) -> Link:
    return Link(name="made", technology="other", up=up or direction(), down=down or direction())


def on_the_wire(payload: int) -> float:
    """Bytes of the packets that a message takes."""
    stream = payload + FRAMING
    return stream + HEADERS * math.ceil(stream / (MTU - HEADERS))


class MadePath:
    """An uplink over a path that behaves as a link of its own; its clock moves with what is sent."""

    peer = "127.0.0.1"
    framing_bytes = FRAMING

    def __init__(self, really: Link, extra_ms: float = 0.0) -> None:
        self._link, self._extra_ms = really, extra_ms
        self._now_ms = 1000.0
        self._origin_ms: float | None = None
        self._spent = Wire(0, 0)

    def probe(self, number: int, up_bytes: int, down_bytes: int, deadline: Deadline) -> tuple[int, int]:
        start_ms = self._now_ms
        self._now_ms = self._through([PROBE_BYTES], [PROBE_BYTES])[0]
        self._spent = Wire(self._spent.up_bytes + PROBE_BYTES, self._spent.down_bytes + PROBE_BYTES)
        return round(start_ms * 1e6), round(self._now_ms * 1e6)

    def volley(self, numbers: Sequence[int], up_bytes: int, down_bytes: int, deadline: Deadline) -> list[int]:
        up, down = ([on_the_wire(size)] * len(numbers) for size in (up_bytes, down_bytes))
        echoes = self._through(up, down)
        self._now_ms = echoes[-1]
        return [round(each * 1e6) for each in echoes]

    def spent(self) -> Wire:
        spent, self._spent = self._spent, Wire(0, 0)
        return spent

    def _through(self, up: Sequence[float], down: Sequence[float]) -> list[float]:
        if self._origin_ms is None:
            self._origin_ms = self._now_ms
        out, times = [self._now_ms - self._origin_ms] * 2, []
        for sizes in zip(up, down, strict=True):
            arrived = self._now_ms - self._origin_ms
            for at, (way, size) in enumerate(zip((self._link.up, self._link.down), sizes, strict=True)):
                begun = max(out[at], arrived)
                capacity = way.capacity
                out[at] = begun if capacity is None else capacity.until(capacity.carried(begun) + size)
                arrived = out[at] + way.delay_ms
            times.append(arrived + self._extra_ms + self._origin_ms)
        return times


def check(asked: Link, really: Link | None = None, extra_ms: float = 0.0):
    return PathCheck(MadePath(really or asked, extra_ms), asked).run("before")  # type: ignore[arg-type]


def test_a_link_that_is_had_is_found_as_it_was_asked_for():
    found = check(link(up=direction(mbit_s=4), down=direction(mbit_s=40, delay_ms=5)))
    assert found.rtt_ms == pytest.approx(found.rtt_ms_asked, abs=0.01)
    assert found.rtt_ms == pytest.approx(15, abs=1)
    assert found.up_bytes_per_s == pytest.approx(500_000, rel=0.02)
    assert found.up_bytes_per_s_asked == pytest.approx(500_000, rel=1e-6)
    assert found.down_bytes_per_s == pytest.approx(5_000_000, rel=0.02)
    assert found.tries == 1


def test_a_trace_is_held_against_what_it_carries_at_that_time():
    bursts = Capacity(ms=[0, 400, 1000, 1300, 3000], bytes=[0, 400_000, 500_000, 1_400_000, 1_900_000])
    found = check(link(up=Direction(capacity=bursts, delay_ms=10)))
    assert found.up_bytes_per_s == pytest.approx(found.up_bytes_per_s_asked, rel=0.02)
    assert found.up_bytes_per_s != pytest.approx(bursts.mean_bytes_per_s, rel=0.02)


def test_a_path_that_takes_longer_shows_in_the_round_trip():
    found = check(link(), extra_ms=3.0)
    assert found.rtt_ms - found.rtt_ms_asked == pytest.approx(3.0, abs=0.01)


def test_a_path_that_carries_less_is_measured_again_and_then_told_as_it_is():
    found = check(link(up=direction(mbit_s=8)), really=link(up=direction(mbit_s=6)))
    assert found.up_bytes_per_s == pytest.approx(0.75 * found.up_bytes_per_s_asked, rel=0.02)
    assert found.tries == 3


def test_no_rate_is_measured_where_none_is_asked_for():
    found = check(link(up=direction(mbit_s=None), down=direction(mbit_s=None)))
    assert (found.up_bytes_per_s, found.down_bytes_per_s_asked, found.tries) == (None, None, 0)
    assert found.rtt_ms_asked == 20


def test_a_slow_link_is_probed_with_little():
    found = check(link(up=direction(mbit_s=0.06, delay_ms=400), down=direction(mbit_s=0.03, delay_ms=400)))
    assert found.up_bytes_per_s == pytest.approx(7500, rel=0.02)
    assert found.down_bytes_per_s == pytest.approx(3750, rel=0.02)
    assert found.rtt_ms == pytest.approx(found.rtt_ms_asked, abs=0.01)
    assert found.rtt_ms_unsure == pytest.approx(52 / 7.5 + 52 / 3.75, rel=1e-3)


def test_a_lossy_link_says_so_and_by_how_much_a_rate_may_be_off():
    found = check(link(up=direction(loss=0.01)))
    assert found.lossy
    # Half a volley of 300 ms at 8 Mbit/s is 100 packets. What was lost comes a round trip of 20 ms later.
    assert found.rates_unsure == pytest.approx(0.01 + 2 * 0.01 + 20 / 150, abs=0.015)
    assert not check(link()).lossy
    assert check(link()).rates_unsure is None


def test_of_a_lossy_link_that_a_kernel_imposes_nothing_is_known_of_a_rate():
    lossy = link(up=direction(loss=0.01))
    assert PathCheck(MadePath(lossy), lossy, "tc").run("before").rates_unsure is None  # type: ignore[arg-type]


def test_a_kernel_may_let_a_probe_pass_at_once_or_at_the_links_rate():
    slow = link(up=direction(mbit_s=0.06, delay_ms=400), down=direction(mbit_s=0.06, delay_ms=400))
    found = PathCheck(MadePath(slow), slow, "tc").run("before")  # type: ignore[arg-type]
    at_once_ms, at_the_rate_ms = 800, 800 + 2 * PROBE_BYTES / 7.5
    for rtt_ms in (at_once_ms, at_the_rate_ms):
        assert abs(rtt_ms - found.rtt_ms_asked) <= found.rtt_ms_unsure
    assert found.rtt_ms_unsure == pytest.approx((PROBE_BYTES + 2 * HEADERS) / 7.5, rel=1e-3)
