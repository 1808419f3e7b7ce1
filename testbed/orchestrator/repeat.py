"""The life of one repeat of one cell.

Reach the nodes → start workers → load → choose a schedule → cool down → warm up → sync clocks → idle baseline →
measure → idle baseline → sync clocks → finish → dismiss → fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, TypeVar

from testbed.deploy.deployer import Deployer
from testbed.errors import TestbedError
from testbed.link import messages
from testbed.orchestrator import clocks
from testbed.orchestrator.attempt import Attempt, NodeStep, Phase, shortest_s
from testbed.orchestrator.control import ControlHub
from testbed.orchestrator.cooling import cool_down
from testbed.orchestrator.crew import Crew, ask_all
from testbed.orchestrator.nodes import fetch_all, open_all
from testbed.orchestrator.requests import Requests
from testbed.orchestrator.schedules import follow
from testbed.record.documents import AttemptRecord
from testbed.record.log import sync, write_json
from testbed.record.noderecord import NodeRepeat, PathMeasured
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockRecord

T = TypeVar("T")


class _Dropped(Exception):  # noqa: N818  (nothing went wrong)
    """The attempt was interrupted before its requests began: nothing of it is worth keeping."""


class Orchestrator:
    """Runs attempts, one after the other; `cancel` ends the running one where that loses least.

    `deployers` reach every node of the campaign, by participant, also those that an attempt does without.
    """

    def __init__(
        self,
        run: str,
        on_phase: Phase,
        deployers: Mapping[str, Deployer],
        on_step: NodeStep = lambda node, what, done, of: None,
    ) -> None:
        self.run = run
        self._deployers = deployers
        self._on_phase, self._on_step = on_phase, on_step
        self._crew: Crew | None = None
        self._waiting = self._measured = False
        self._stop = asyncio.Event()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def cancel(self) -> str:
        """End the running attempt; what it measured is collected. Returns how it ends, for the user.

        While nodes are reached, started and loaded it is dropped at once. Requests, of the warm-up too, end first. An
        attempt all of whose requests are measured, also where the running one was the last, is finished: the rest takes
        seconds, and without it all is lost.
        """
        self._stop.set()
        if self._measured:
            return "with this repeat, all of which is measured"
        if self._crew is not None:
            self._crew.tell(messages.Cancel())
        return "without this repeat, which has not begun" if self._waiting else "after the running request"

    async def attempt(self, attempt: Attempt) -> bool:
        """Measure one repeat; returns whether all of it was measured (False: cancelled).

        Raises:
            TestbedError: with the names of the nodes that failed. What was recorded is on disk.
        """
        self._measured = False
        with contextlib.suppress(_Dropped):
            await self._unless_cancelled(self._reach(attempt))
            return await self._attempt(attempt)
        return False

    async def _attempt(self, attempt: Attempt) -> bool:
        async with ControlHub(self.run, (node.id for node in attempt.participants)) as hub:
            crew = self._crew = Crew(hub, attempt, self._deployers, self.run, self._on_step)
            try:
                document = await self._measure(crew, attempt)
            except (asyncio.CancelledError, _Dropped):
                await self._bring_home(crew, attempt)
                raise
            except BaseException:
                if await self._bring_home(crew, attempt):
                    # Where a connection was lost, a new one is often there at once, and with it what was recorded.
                    with contextlib.suppress(TestbedError):
                        await self._reach(attempt)
                raise
            for error in await self._bring_home(crew, attempt):
                raise error
        if document is not None:
            sync(attempt.folder.path)  # attempt.json says that the rows are there
            write_json(attempt.folder.record, document)
        return document is not None

    async def _reach(self, attempt: Attempt) -> None:
        self._on_phase("reaching nodes", 0, 1)
        await open_all(self._deployers, attempt, self._on_step)

    async def _bring_home(self, crew: Crew, attempt: Attempt) -> list[TestbedError]:
        """Dismiss the workers and fetch what they recorded; returns what went wrong."""
        await crew.dismiss()
        return await fetch_all(self._deployers, self.run, attempt)

    async def _measure(self, crew: Crew, attempt: Attempt) -> AttemptRecord | None:
        """Returns what attempt.json is to say; None when it was cancelled."""
        started = time.monotonic()
        self._on_phase("starting workers", 0, 1)
        hellos = await self._unless_cancelled(crew.start())
        self._on_phase("loading", 0, 1)
        loaded = await self._unless_cancelled(crew.load())
        schedules = await self._unless_cancelled(follow(crew, attempt, loaded))
        idle_s, least_s = shortest_s(attempt, loaded)
        cooled = await self._unless_cancelled(cool_down(crew, attempt, self._on_phase))
        await self._unless_cancelled(crew.compute_ahead(self._on_phase))
        self._on_phase("warm-up", 0, len(attempt.warmup))
        order = messages.WarmUp(samples=list(attempt.warmup))
        await crew.served(ask_all("warming up", lambda edge: edge.ask(order, "warming up"), crew.edges))
        self._drop_if_cancelled()
        before = await self._paths(crew, attempt, "before")
        clock = await self._sync(crew, attempt, "before")
        await self._rest(crew, idle_s, "before")
        self._drop_if_cancelled()
        requests = Requests(crew, attempt, self._on_phase)
        async with clocks.during(requests.present, attempt.repeat) as exchanged:
            measured, faults = await requests.measure(least_s)
        clock += exchanged
        if not all(edge.whole for edge in measured.values()):
            await self._finish(crew)
            return None
        self._measured = True
        if self.cancelled:  # the workers know, and would not rest
            crew.tell(messages.Complete())
        await self._rest(crew, idle_s, "after")
        clock += await self._sync(crew, attempt, "after")
        after = await self._paths(crew, attempt, "after")
        finished = await self._finish(crew)
        return AttemptRecord(
            schema=SCHEMA_VERSION,
            seconds=time.monotonic() - started,
            requests={edge: told.requests for edge, told in measured.items()},
            min_duration_s=least_s,
            idle_s=idle_s,
            clock=ClockRecord(estimates=clock, lines=clocks.lines(clock)),
            nodes={
                name: NodeRepeat(
                    hello=hello.facts,
                    loaded=loaded[name].detail,
                    finished=finished[name].detail,
                    cooling=cooled.get(name),
                    paths=[path[name] for path in (before, after) if name in path],
                    schedule=schedules.get(name),
                )
                for name, hello in hellos.items()
            },
            faults=faults,
        )

    async def _unless_cancelled(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of which nothing is worth keeping: an interrupt drops it, once it has cleaned up.

        Raises:
            _Dropped: there was an interrupt.
        """
        doing, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        self._waiting = True
        try:
            await asyncio.wait({doing, stop}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not self.cancelled:
                return doing.result()
            raise _Dropped
        finally:
            self._waiting = False
            for task in (doing, stop):
                task.cancel()
            await asyncio.wait({doing, stop})
            if not doing.cancelled():
                doing.exception()  # that it failed matters no more

    def _drop_if_cancelled(self) -> None:
        if self.cancelled:
            raise _Dropped

    async def _rest(self, crew: Crew, seconds: float, when: Literal["before", "after"]) -> None:
        self._on_phase("idle baseline", when == "after", 1)
        order = messages.Idle(seconds=seconds, phase=f"idle_{when}")
        await crew.each("resting", lambda worker: worker.ask(order, f"resting {when} measuring"))

    async def _finish(self, crew: Crew) -> dict[str, messages.Finished]:
        return await crew.each("finishing", lambda worker: worker.ask(messages.Finish(), "closing its record"))

    async def _paths(self, crew: Crew, attempt: Attempt, when: Literal["before", "after"]) -> dict[str, PathMeasured]:
        """What the link delivers to each edge; one after the other, since they share it."""
        found: dict[str, PathMeasured] = {}
        for edge in crew.edges if attempt.link is not None else []:
            self._on_phase("checking the link", 0, 1)
            await crew.begin_link()
            asked = edge.ask(messages.CheckPath(when=when), "checking the link")
            answer: messages.PathChecked = await crew.served(asked)
            found[edge.node.id] = answer.detail
        return found

    async def _sync(self, crew: Crew, attempt: Attempt, when: Literal["before", "after"]) -> list[ClockEstimate]:
        self._on_phase("syncing clocks", 0, 1)
        return await clocks.exchange(crew.workers.values(), attempt.repeat, when)
