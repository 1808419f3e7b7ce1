"""The order in which requests are made, and until when."""

from __future__ import annotations

import threading

import pytest

from testbed.errors import WorkerError
from testbed.link.messages import Measure
from testbed.record.noderecord import Measured
from testbed.record.schema import Outcome, RequestRow
from testbed.worker import loop
from testbed.worker.answering import Answered
from testbed.worker.loop import MAX_LOST_IN_A_ROW, PASS_STRIDE, RequestLoop
from tests.fakes.virtualclock import MS, VirtualClock


class Requests:
    """Requests that take a virtual millisecond each; `begun`: ids and samples asked for, `kept`: the recorded rows."""

    def __init__(self, outcomes: str = "", cancelled_at: int = 0) -> None:
        """The n-th request is lost where the n-th letter of `outcomes` is x; there is a cancel during one of them."""
        self.begun: list[tuple[int, int]] = []
        self.kept: list[RequestRow] = []
        self.checks = 0
        self.cancel = threading.Event()
        self.fault: Exception | None = None
        self._outcomes, self._cancelled_at = outcomes, cancelled_at
        self.clock = VirtualClock()
        keep = self.kept
        self.loop = RequestLoop(
            self._answer, lambda answered: keep.append(answered.row), self._check, self.cancel, clock=self.clock
        )

    def measure(
        self,
        samples: list[int],
        first: int = 0,
        at_least_s: float = 0.0,
        told: list[int] | None = None,
        done: int = 0,
        may_lose: int = 0,
    ) -> int:
        order = Measure(samples=samples, first_request_id=first, min_duration_s=at_least_s, may_lose=may_lose)
        return self.loop.measure(order, (lambda done: None) if told is None else told.append, done).requests

    def _check(self) -> None:
        self.checks += 1

    def _answer(self, number: int, sample: int, arrival_ns: int | None) -> Answered:
        lost = self._outcomes[len(self.begun) : len(self.begun) + 1] == "x"
        self.begun.append((number, sample))
        if len(self.begun) == self._cancelled_at:
            self.cancel.set()
        self.clock.t_ns += MS
        return Answered(row(number, sample, self.clock.t_ns, "timeout" if lost else "ok"), [], self.fault)


def row(number: int, sample: int, end_ns: int, outcome: Outcome) -> RequestRow:
    return RequestRow(
        request_id=number,
        node="edge",
        sample_index=sample,
        repeat=0,
        label=0,
        prediction=0 if outcome == "ok" else None,
        outcome=outcome,
        reason=None if outcome == "ok" else "no reply within 1000 ms",
        exit_timestep=1 if outcome == "ok" else None,
        t_start_ns=end_ns - MS,
        t_end_ns=end_ns,
        latency_ms=1.0,
        edge_compute_ms=0.0,
        encode_ms=0.0,
        network_ms=0.0,
        cloud_compute_ms=0.0,
        payload_up_bytes=0,
        payload_down_bytes=0,
        wire_up_bytes=0,
        wire_down_bytes=0,
    )


def test_without_a_least_duration_each_sample_is_run_once_in_order() -> None:
    requests = Requests()
    assert requests.measure([5, 3, 9], first=30) == 3
    assert requests.begun == [(30, 5), (31, 3), (32, 9)]
    assert [(kept.request_id, kept.sample_index) for kept in requests.kept] == requests.begun


def test_until_the_least_duration_is_over_whole_passes_follow_and_no_id_comes_twice() -> None:
    requests, told = Requests(), []
    done = requests.measure([5, 3, 9], first=30, at_least_s=0.25, told=told)
    assert done == len(requests.begun) == 252  # 250 ms, and the pass that was begun
    assert requests.begun[3:6] == [(30 + PASS_STRIDE, 5), (31 + PASS_STRIDE, 3), (32 + PASS_STRIDE, 9)]
    assert len({request for request, _ in requests.begun}) == done
    assert told == sorted(told)
    assert max(told) <= 3


def test_progress_is_told_and_the_power_sampler_looked_at_now_and_then() -> None:
    requests, told = Requests(), []
    requests.measure([1], at_least_s=0.5, told=told)
    assert requests.checks == len(told) == 3


def test_a_cancelled_pass_ends_at_its_next_request() -> None:
    requests = Requests()
    requests.cancel.set()
    assert requests.measure([5], at_least_s=60) == 0


def test_requests_that_would_run_out_of_ids_are_refused_and_say_what_to_change(monkeypatch) -> None:
    monkeypatch.setattr(loop, "MAX_REQUEST_ID", 2 * PASS_STRIDE)
    requests = Requests()
    with pytest.raises(WorkerError, match=r"1 requests a repeat are too few.* 60 s; raise scenario.requests"):
        requests.measure([5], first=1, at_least_s=60)
    assert len(requests.begun) == 2


def test_warming_up_records_nothing_and_uses_ids_of_its_own() -> None:
    requests = Requests()
    requests.loop.warm_up([4, 2])
    assert requests.begun == [(0xFFFF_FFFF, 4), (0xFFFF_FFFE, 2)]
    assert not requests.kept


def test_as_many_lost_requests_as_a_cell_may_have_do_not_end_a_repeat() -> None:
    requests = Requests(outcomes="ox" * 40)
    assert requests.measure(list(range(80)), may_lose=40) == 80
    assert [kept.outcome for kept in requests.kept].count("timeout") == 40


def test_a_repeat_ends_once_its_cell_cannot_be_valid_any_more() -> None:
    requests = Requests(outcomes="ox" * 40)
    with pytest.raises(WorkerError, match=r"25 of 50 requests were lost"):
        requests.measure(list(range(80)), may_lose=24)
    few = Requests(outcomes="ox" * 40)  # a handful says little, however few requests there are
    with pytest.raises(WorkerError, match=rf"{MAX_LOST_IN_A_ROW} of 40 requests were lost"):
        few.measure(list(range(80)), may_lose=0)


def test_each_pass_over_the_samples_may_lose_as_many() -> None:
    requests = Requests(outcomes=("o" * 10 + "x" * 10) * 3)
    assert requests.measure(list(range(20)), at_least_s=0.04, may_lose=10) == 40


def test_a_link_that_is_gone_for_good_ends_the_repeat_with_its_reason_and_every_row() -> None:
    requests = Requests(outcomes="o" * 100 + "x" * 1000)
    with pytest.raises(
        WorkerError, match=r"20 of 120 requests were lost, the last 20 in a row.* no reply within 1000 ms"
    ):
        requests.measure(list(range(1100)))
    assert len(requests.kept) == len(requests.begun) == 100 + MAX_LOST_IN_A_ROW


def test_a_repeat_that_loses_more_than_it_keeps_ends_too() -> None:
    requests = Requests(outcomes="xxo" * 100)
    with pytest.raises(WorkerError, match=r"20 of 29 requests were lost, the last 2 in a row"):
        requests.measure(list(range(300)))


def test_a_fault_that_is_no_matter_of_the_link_is_raised_once_its_row_is_kept() -> None:
    requests = Requests()
    requests.fault = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        requests.measure([1, 2, 3])
    assert len(requests.kept) == 1


def test_a_worker_in_the_place_of_a_killed_one_goes_on_with_the_next_request():
    requests = Requests()
    assert requests.measure([5, 6, 7, 8], first=40, done=3) == 4
    assert requests.begun == [(43, 8)]
    again = Requests()
    assert again.measure([5, 6], first=0, done=3) == 4  # in its second pass over the samples
    assert again.begun == [(1 + PASS_STRIDE, 6)]


@pytest.mark.parametrize(("cancelled_at", "whole"), [(1, False), (3, True)])
def test_requests_that_are_cancelled_during_the_last_one_are_whole(cancelled_at, whole):
    requests = Requests(cancelled_at=cancelled_at)
    order = Measure(samples=[5, 3, 9], first_request_id=0, min_duration_s=0.0)
    assert requests.loop.measure(order, lambda done: None) == Measured(requests=cancelled_at, whole=whole)
