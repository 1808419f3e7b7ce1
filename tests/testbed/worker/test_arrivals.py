"""When requests arrive and how they then wait, in time that a test lets pass."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import pytest

from testbed.errors import WorkerError
from testbed.link.messages import Arrivals, Measure
from testbed.record.scenario import ScenarioKind
from testbed.worker.answering import Answered
from testbed.worker.arrivals import Clock, poisson_ns
from testbed.worker.loop import PASS_STRIDE, RequestLoop
from tests.fakes.virtualclock import VirtualClock
from tests.made import records

MS = 1_000_000
SEED = "7/0/arrivals/0"
FIRST_OF_SEED_0 = [0, 7_972_988, 13_406_097]


class Edge:
    """An edge whose n-th request takes `took_ns(n)`; `waits` has how long each waited, ms, `arrived` when it came."""

    def __init__(self, took_ns: Callable[[int], int], clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.begun: list[int] = []
        self.arrived: list[int | None] = []
        self.waits: list[float] = []
        self._took_ns = took_ns
        self.cancel = threading.Event()
        self.loop = RequestLoop(self._answer, lambda _: None, lambda: None, self.cancel, clock=self.clock)

    def measure(
        self,
        kind: ScenarioKind,
        samples: int,
        rate: float | None = None,
        *,
        least_s: float = 0.0,
        done: int = 0,
        last_ns: int | None = None,
    ) -> int:
        order = Measure(
            samples=list(range(samples)),
            arrivals=Arrivals(kind=kind, target_qps=rate, seed=SEED),
            first_request_id=0,
            min_duration_s=least_s,
        )
        return self.loop.measure(order, lambda _: None, done, last_ns).requests

    def _answer(self, number: int, sample: int, arrival_ns: int | None) -> Answered:
        start_ns = self.clock.t_ns
        self.clock.t_ns += self._took_ns(len(self.begun))
        self.begun.append(number)
        self.arrived.append(arrival_ns)
        self.waits.append(0.0 if arrival_ns is None else (start_ns - arrival_ns) / MS)
        row = records.request(request_id=number, t_arrival_ns=arrival_ns, t_start_ns=start_ns, t_end_ns=self.clock.t_ns)
        return Answered(row, [])


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_random_arrivals_wait_as_long_in_the_mean_as_queueing_theory_has_it(load: float) -> None:
    # Pollaczek and Khinchine for M/D/1: ρ·D / (2·(1 − ρ)). Waits of neighbours depend on each other, so many are taken.
    took_ms = 10.0
    edge = Edge(lambda _: round(took_ms * MS))
    assert edge.measure("server", 60_000, rate=load * 1000 / took_ms) == 60_000
    expected_ms = load * took_ms / (2 * (1 - load))
    assert math.fsum(edge.waits) / 60_000 == pytest.approx(expected_ms, rel=0.05)
    # An arrival finds the edge at rest as often as it is (PASTA).
    assert sum(wait == 0 for wait in edge.waits) / 60_000 == pytest.approx(1 - load, abs=0.01)


def test_requests_are_begun_when_they_arrive_or_when_the_one_before_is_over() -> None:
    edge = Edge(lambda number: [30, 1, 1][number] * MS)
    begin_ns = edge.clock.t_ns
    edge.measure("server", 3, rate=100.0)
    gaps = poisson_ns(100.0, 3, 0.0, SEED)
    assert edge.arrived == [begin_ns + gap for gap in gaps]
    assert edge.waits == [0.0, pytest.approx(30 - gaps[1] / MS), pytest.approx(max(0, 31 - gaps[2] / MS))]
    assert edge.waits[1] > 0


def test_arrivals_depend_on_the_seed_alone_and_have_the_same_gaps_at_every_rate() -> None:
    slow, fast = poisson_ns(10.0, 50, 0.0, SEED), poisson_ns(40.0, 50, 0.0, SEED)
    assert slow == poisson_ns(10.0, 50, 0.0, SEED) != poisson_ns(10.0, 50, 0.0, SEED + "0")
    assert slow[0] == 0
    assert [4 * each for each in fast] == pytest.approx(slow, abs=4)
    # The seed's numbers are the same on every node: these are written down.
    assert poisson_ns(100.0, 3, 0.0, "0/0/arrivals/0") == FIRST_OF_SEED_0
    many = poisson_ns(10.0, 20_000, 0.0, SEED)
    assert many[-1] / 1e9 == pytest.approx(2000, rel=0.02)


def test_a_server_makes_whole_passes_until_the_time_is_over_however_long_requests_take() -> None:
    for took_ms in (1, 500):
        edge = Edge(lambda _, took_ms=took_ms: took_ms * MS)
        done = edge.measure("server", 20, rate=50.0, least_s=1.0)
        assert done == len(poisson_ns(50.0, 20, 1.0, SEED))
        assert done % 20 == 0
        assert edge.begun[20] == PASS_STRIDE
    assert poisson_ns(50.0, 20, 1.0, SEED)[-1] >= 1e9 > poisson_ns(50.0, 20, 1.0, SEED)[-21]


def test_offline_a_whole_pass_is_there_when_it_begins() -> None:
    edge = Edge(lambda _: 100 * MS)
    begin_ns = edge.clock.t_ns
    assert edge.measure("offline", 4, least_s=0.5) == 8
    assert edge.arrived == [begin_ns] * 4 + [begin_ns + 400 * MS] * 4
    assert edge.waits == [0, 100, 200, 300] * 2


def test_in_a_single_stream_nothing_arrives_before_it_is_begun() -> None:
    edge = Edge(lambda _: 100 * MS)
    assert edge.measure("single_stream", 4, least_s=0.5) == 8
    assert edge.arrived == [None] * 8


def test_an_edge_in_the_place_of_a_killed_one_finds_the_requests_that_arrived_meanwhile() -> None:
    first = Edge(lambda _: 5 * MS)
    first.measure("server", 10, rate=50.0)
    # Three were begun, then it was away for a second.
    later = Edge(lambda _: 5 * MS, VirtualClock(first.arrived[2] + 1000 * MS))
    assert later.measure("server", 10, rate=50.0, done=3, last_ns=first.arrived[2]) == 10
    assert later.arrived == first.arrived[3:]
    assert later.waits[0] == pytest.approx(1000 - (first.arrived[3] - first.arrived[2]) / MS)
    offline = Edge(lambda _: 5 * MS)
    offline.measure("offline", 3, done=2, last_ns=17)
    assert offline.arrived == [17]


def test_a_server_needs_a_rate() -> None:
    with pytest.raises(WorkerError, match="target_qps"):
        Edge(lambda _: 0).measure("server", 3)


def test_who_waits_for_an_arrival_is_woken_by_a_cancel() -> None:
    cancel = threading.Event()
    began_ns = time.monotonic_ns()
    threading.Timer(0.05, cancel.set).start()
    Clock().wait_until(began_ns + 3_600_000 * MS, cancel)
    assert cancel.is_set()
    Clock().wait_until(time.monotonic_ns() + 2 * MS, threading.Event())


def test_a_real_wait_ends_when_its_time_has_come_and_not_before() -> None:
    until_ns = time.monotonic_ns() + 20 * MS
    Clock().wait_until(until_ns, threading.Event())
    assert time.monotonic_ns() >= until_ns
