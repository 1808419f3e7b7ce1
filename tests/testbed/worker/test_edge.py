"""The order in which an edge makes its requests, and until when."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from testbed.errors import WorkerError
from testbed.link.messages import Measure
from testbed.worker import edge
from testbed.worker.edge import PASS_STRIDE, EdgeWork


class Recorder(EdgeWork):
    """An edge whose requests do nothing but take a millisecond; what it recorded is in `rows`."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []
        self.cancel = threading.Event()
        log = SimpleNamespace(append=lambda *rows: None)
        self._station = SimpleNamespace(
            cancel=self.cancel, phase=lambda name: None, log=lambda table: log, check_sampler=lambda: None
        )
        self._client = None

    def _request(self, request: int, sample: int):
        self.rows.append((request, sample))
        time.sleep(0.001)
        return SimpleNamespace(t_end_ns=time.monotonic_ns()), []


def test_without_a_least_duration_each_sample_is_run_once_in_order() -> None:
    work = Recorder()
    assert work.measure(Measure(samples=[5, 3, 9], first_request_id=30), lambda done: None) == 3
    assert work.rows == [(30, 5), (31, 3), (32, 9)]


def test_until_the_least_duration_is_over_whole_passes_follow_and_no_id_comes_twice() -> None:
    work, told = Recorder(), []
    start = time.monotonic()
    done = work.measure(Measure(samples=[5, 3, 9], first_request_id=30, min_duration_s=0.25), told.append)
    assert time.monotonic() - start >= 0.25
    assert done == len(work.rows) > 3
    assert done % 3 == 0
    assert work.rows[3:6] == [(30 + PASS_STRIDE, 5), (31 + PASS_STRIDE, 3), (32 + PASS_STRIDE, 9)]
    assert len({request for request, _ in work.rows}) == done
    assert told == sorted(told)
    assert max(told) <= 3


def test_a_cancelled_pass_ends_at_its_next_request() -> None:
    work = Recorder()
    work.cancel.set()
    assert work.measure(Measure(samples=[5], first_request_id=0, min_duration_s=60), lambda done: None) == 0


def test_requests_that_would_run_out_of_ids_are_refused_and_say_what_to_change(monkeypatch) -> None:
    monkeypatch.setattr(edge, "MAX_REQUEST_ID", 2 * PASS_STRIDE)
    work = Recorder()
    with pytest.raises(WorkerError, match=r"1 requests a repeat are too few.* 60 s; raise scenario.requests"):
        work.measure(Measure(samples=[5], first_request_id=1, min_duration_s=60), lambda done: None)
    assert len(work.rows) == 2
