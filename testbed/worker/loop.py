"""The loop over requests: in which order, until when, and when there is no use in going on. It knows no mode."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from testbed.errors import WorkerError
from testbed.link.messages import Measure
from testbed.record.noderecord import Measured
from testbed.record.schema import RequestRow
from testbed.worker.answering import Answered
from testbed.worker.arrivals import Clock, arrivals_of

PROGRESS_S = 0.2

PASS_STRIDE = 1 << 20
"""What a request's id grows by with each pass over the samples after the first, so that no two requests of a cell
share one."""

MAX_REQUEST_ID = 0xFFFF_0000
"""Above are those of the warm-up; a frame has 32 bits for it."""

MAX_LOST_IN_A_ROW = 20
"""A repeat ends when so many requests were lost one after the other; or so many, and more than its cell may lose."""


class RequestLoop:
    """Runs requests one after the other, each once it has arrived.

    `answer` takes a request's id, its sample and when it arrived (None: now), `record` keeps what came of it, `check`
    raises where going on is of no use. `cancel` is looked at between two requests. With `late_is_lost` false a timeout
    is a result like others, as where requests have a deadline: however many there are, the repeat goes on. So it does
    over losses of any kind where it is `lossy`, as where faults are played.
    """

    def __init__(
        self,
        answer: Callable[[int, int, int | None], Answered],
        record: Callable[[Answered], None],
        check: Callable[[], None],
        cancel: threading.Event,
        *,
        late_is_lost: bool = True,
        lossy: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._answer, self._record, self._check, self._cancel = answer, record, check, cancel
        self._clock = clock or Clock()
        self._late_is_lost, self._lossy = late_is_lost, lossy

    def warm_up(self, samples: Sequence[int]) -> None:
        """Run samples without recording them: caches, allocators and TCP windows settle."""
        losses = _Losses(len(samples), len(samples) // 2, late_is_lost=True, lossy=False)
        for offset, sample in enumerate(samples):
            if self._cancel.is_set():
                return
            answered = self._answer(0xFFFF_FFFF - offset, sample, None)
            if answered.fault is not None:
                raise answered.fault
            losses.count(answered.row)

    def measure(
        self, order: Measure, report: Callable[[int], None], done: int = 0, last_arrival_ns: int | None = None
    ) -> Measured:
        """Run and record samples in order until done or cancelled; says which, and how many requests were measured.

        The first `done` of them were measured already, and the last of those arrived at `last_arrival_ns`.

        Each sample is run equally often, so that accuracies of cells that took more passes or fewer compare.

        Raises:
            WorkerError: too many requests are lost, or there are too few for so long a time.
            Exception: what a request ran into that is no matter of the link; its row is recorded.
        """
        total, spent_s, reported_ns = len(order.samples), 0.0, 0
        losses = _Losses(total, order.may_lose, late_is_lost=self._late_is_lost, lossy=self._lossy)
        arrivals = arrivals_of(order, self._clock, done, last_arrival_ns)
        start_ns = self._clock.now_ns()
        while arrivals.more(done, spent_s):
            arrival_ns = arrivals.arrival_ns(done)
            if arrival_ns is not None:
                self._clock.wait_until(arrival_ns, self._cancel)
            if self._cancel.is_set():
                return Measured(requests=done, whole=False)
            answered = self._answer(_request_id(order, done), order.samples[done % total], arrival_ns)
            self._record(answered)
            if answered.fault is not None:
                raise answered.fault
            losses.count(answered.row)
            t_end_ns = answered.row.t_end_ns
            done, spent_s = done + 1, (t_end_ns - start_ns) / 1e9
            if t_end_ns - reported_ns > PROGRESS_S * 1e9:
                reported_ns = t_end_ns
                self._check()
                share = min(1.0, spent_s / order.min_duration_s) if order.min_duration_s else 1.0
                report(min(done, total, round(total * share)))
        return Measured(requests=done, whole=True)


def _request_id(order: Measure, done: int) -> int:
    total = len(order.samples)
    number = order.first_request_id + done % total + done // total * PASS_STRIDE
    if number > MAX_REQUEST_ID:
        raise WorkerError(
            f"{total} requests a repeat are too few: run over and over, they do not last for "
            f"{order.min_duration_s:.3g} s; raise scenario.requests"
        )
    return number


class _Losses:
    """Counts requests that were not answered; `may_lose` of them may be in each pass over `total` samples."""

    def __init__(self, total: int, may_lose: int, *, late_is_lost: bool, lossy: bool) -> None:
        self._total, self._may_lose = total, may_lose
        self._late_is_lost, self._lossy = late_is_lost, lossy
        self._begun = self._lost = self._in_a_row = 0

    def count(self, row: RequestRow) -> None:
        """Count one more request.

        Raises:
            WorkerError: too many were lost.
        """
        self._begun += 1
        if self._lossy or row.outcome == "ok" or (row.outcome == "timeout" and not self._late_is_lost):
            self._in_a_row = 0
            return
        self._lost, self._in_a_row = self._lost + 1, self._in_a_row + 1
        passes = -(-self._begun // self._total)
        many = self._lost >= MAX_LOST_IN_A_ROW and self._lost > self._may_lose * passes
        if many or self._in_a_row >= MAX_LOST_IN_A_ROW:
            raise WorkerError(
                f"{self._lost} of {self._begun} requests were lost, the last {self._in_a_row} in a row, so this repeat "
                f"ends here; the last one: {row.reason}"
            )
