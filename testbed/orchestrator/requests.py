"""The requests of one repeat: all edges at once, the others watched, and whatever faults its cell asks for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from testbed.errors import WorkerError
from testbed.link import messages
from testbed.orchestrator.attempt import Attempt, Phase
from testbed.orchestrator.crew import Crew, beside
from testbed.orchestrator.faults import Faults
from testbed.orchestrator.worker import Worker
from testbed.record.faults import FaultRecord
from testbed.record.noderecord import Measured


class Requests:
    """Has all edges of a crew make their requests while its other workers serve."""

    def __init__(self, crew: Crew, attempt: Attempt, on_phase: Phase) -> None:
        self._crew, self._attempt, self._on_phase = crew, attempt, on_phase
        self._done = dict.fromkeys(attempt.ids("edge"), 0)
        self._faults = Faults(attempt.faults, crew, lambda: min(self._done.values()))

    def present(self) -> list[Worker]:
        """The workers that no fault is being played on."""
        return [worker for name, worker in self._crew.workers.items() if not self._faults.on(name)]

    async def measure(self, least_s: float) -> tuple[dict[str, Measured], list[FaultRecord]]:
        """Measure for `least_s` at the least; what each edge measured, and the faults as they were.

        Raises:
            TestbedError: a worker failed that no fault was being played on, or a fault could not be played.
        """
        attempt, total = self._attempt, len(self._attempt.samples)
        order = messages.Measure(
            samples=list(attempt.samples),
            first_request_id=attempt.repeat * total,
            min_duration_s=least_s,
            may_lose=attempt.may_lose,
        )
        self._on_phase("measuring", 0, total)
        others = [name for name in self._crew.workers if name not in self._done]
        await self._crew.begin_link()
        self._faults.begin()
        try:
            work = {edge: self._measured(edge, self._of(place, order)) for place, edge in enumerate(self._done)}
            measured: dict[str, Measured] = await beside(work, [self._watched(name) for name in others])
            await self._faults.end()
        except BaseException:
            self._faults.drop()
            raise
        self._on_phase("measuring", min(total, *(edge.requests for edge in measured.values())), total)
        return measured, self._faults.records

    def _of(self, place: int, order: messages.Measure) -> messages.Measure:
        """The order for one of the edges, whose requests arrive independently of the others'."""
        arrivals = self._attempt.arrivals
        seeded = msgspec.structs.replace(arrivals, seed=f"{arrivals.seed}/{place}")
        return msgspec.structs.replace(order, arrivals=seeded)

    async def _measured(self, edge: str, order: messages.Measure) -> Measured:
        while True:
            worker = self._crew.workers[edge]
            worker.on_progress = self._progress(edge, len(order.samples))
            try:
                answer: messages.Measured = await worker.ask(order, "measuring")
            except WorkerError:
                if not self._faults.on(edge):
                    raise
                await self._faults.over(edge)
                order = msgspec.structs.replace(order, go_on=True)
            else:
                return answer.detail

    async def _watched(self, node: str) -> None:
        while True:
            try:
                await self._crew.workers[node].watch("serving")
            except WorkerError:  # noqa: PERF203  (there are a few faults in a repeat)
                if not self._faults.on(node):
                    raise
                await self._faults.over(node)

    def _progress(self, edge: str, total: int) -> Callable[[int, int], None]:
        def report(count: int, of: int) -> None:
            self._done[edge] = count
            self._on_phase("measuring", min(self._done.values()), total)

        return report
