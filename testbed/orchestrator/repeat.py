"""The life of one repeat of one cell.

Reach the nodes → start workers → load → warm up → sync clocks → idle baseline → measure → idle baseline → sync clocks →
finish → dismiss → fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal, TypeVar

from devices.profile import Profile, Settings
from testbed.deploy.deployer import Deployer
from testbed.errors import NodeFailures, TestbedError
from testbed.link import messages
from testbed.link.keys import new_keypair
from testbed.link.messages import WorkerStart
from testbed.orchestrator import clocks
from testbed.orchestrator.attempt import Attempt, Phase, shortest_s
from testbed.orchestrator.control import ControlHub
from testbed.orchestrator.nodes import fetch_all, open_all
from testbed.orchestrator.worker import Worker
from testbed.record.documents import AttemptRecord, NodeRepeat
from testbed.record.log import sync, write_json
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockRecord

T = TypeVar("T")

GOODBYE_S = 3.0
RESTORE_S = 20.0
"""How much longer a worker may take to end that puts its board's settings back: each tool takes a second or two."""


def _goodbye_s(profile: Profile) -> float:
    return GOODBYE_S + (RESTORE_S if profile.settings != Settings() else 0.0)


def _idle(seconds: float, when: Literal["before", "after"]) -> messages.Idle:
    return messages.Idle(seconds=seconds, phase=f"idle_{when}")


class _Dropped(Exception):  # noqa: N818  (nothing went wrong)
    """The attempt was interrupted before its requests began: nothing of it is worth keeping."""


class Orchestrator:
    """Runs attempts, one after the other; `cancel` ends the running one where that loses least.

    `deployers` reach every node of the campaign, by participant, also those that an attempt does without.
    """

    def __init__(self, run: str, on_phase: Phase, deployers: Mapping[str, Deployer]) -> None:
        self.run = run
        self._deployers = deployers
        self._on_phase = on_phase
        self._workers: dict[str, Worker] = {}
        self._waiting = self._measured = False
        self._stop = asyncio.Event()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    def cancel(self) -> str:
        """End the running attempt; what it measured is collected. Returns how it ends, for the user.

        While nodes are reached, started and loaded it is dropped at once. Requests, of the warm-up too, end first. An
        attempt all of whose requests are measured is finished: the rest takes seconds, and without it all is lost.
        """
        self._stop.set()
        if self._measured:
            return "with this repeat, all of which is measured"
        for worker in self._workers.values():
            worker.tell(messages.Cancel())
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
            self._workers = {}
            try:
                document = await self._measure(hub, attempt)
            except (asyncio.CancelledError, _Dropped):
                await self._bring_home(attempt)
                raise
            except BaseException:
                if await self._bring_home(attempt):
                    # Where a connection was lost, a new one is often there at once, and with it what was recorded.
                    with contextlib.suppress(TestbedError):
                        await self._reach(attempt)
                raise
            for error in await self._bring_home(attempt):
                raise error
        if document is not None:
            sync(attempt.folder.path)  # attempt.json says that the rows are there
            write_json(attempt.folder.record, document)
        return document is not None

    async def _reach(self, attempt: Attempt) -> None:
        self._on_phase("reaching nodes", 0, 1)
        await open_all(self._deployers, attempt)

    async def _bring_home(self, attempt: Attempt) -> list[TestbedError]:
        """Dismiss the workers and fetch what they recorded; returns what went wrong."""
        await asyncio.gather(*(worker.dismiss(_goodbye_s(worker.node.profile)) for worker in self._workers.values()))
        self._workers = {}
        return await fetch_all(self._deployers, self.run, attempt)

    async def _measure(self, hub: ControlHub, attempt: Attempt) -> AttemptRecord | None:
        """Returns what attempt.json is to say; None when it was cancelled."""
        started = time.monotonic()
        hellos = await self._unless_cancelled(self._start(hub, attempt))
        loaded = await self._unless_cancelled(self._load(attempt))
        idle_s, least_s = shortest_s(attempt, loaded)
        edges = [self._workers[name] for name in attempt.ids("edge")]
        self._on_phase("warm-up", 0, len(attempt.warmup))
        order = messages.WarmUp(samples=list(attempt.warmup))
        await self._each("warming up", lambda edge: edge.ask(order, "warming up"), edges)
        self._drop_if_cancelled()
        clock = await self._sync(attempt, "before")
        self._on_phase("idle baseline", 0, 1)
        await self._each("resting", lambda worker: worker.ask(_idle(idle_s, "before"), "resting before measuring"))
        self._drop_if_cancelled()
        async with clocks.during(self._workers.values(), attempt.repeat) as exchanged:
            measured = await self._requests(attempt, edges, least_s)
        clock += exchanged
        if self.cancelled:  # the workers know, and would not rest
            await self._finish()
            return None
        self._measured = True
        self._on_phase("idle baseline", 1, 1)
        await self._each("resting", lambda worker: worker.ask(_idle(idle_s, "after"), "resting after measuring"))
        clock += await self._sync(attempt, "after")
        finished = await self._finish()
        return AttemptRecord(
            schema=SCHEMA_VERSION,
            seconds=time.monotonic() - started,
            requests=measured,
            min_duration_s=least_s,
            idle_s=idle_s,
            clock=ClockRecord(estimates=clock, lines=clocks.lines(clock)),
            nodes={
                name: NodeRepeat(hello=hello.facts, loaded=loaded[name].detail, finished=finished[name].detail)
                for name, hello in hellos.items()
            },
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

    async def _finish(self) -> dict[str, messages.Finished]:
        return await self._each("finishing", lambda worker: worker.ask(messages.Finish(), "closing its record"))

    async def _start(self, hub: ControlHub, attempt: Attempt) -> dict[str, messages.Hello]:
        self._on_phase("starting workers", 0, 1)
        for node in attempt.participants:
            start = WorkerStart(
                control_endpoint=hub.endpoint,
                control_public=hub.keys.public,
                keys=hub.client_keys[node.id],
                node=node.id,
                root=node.profile.root,
                silence_s=attempt.deadlines.silence_s,
            )
            log = attempt.logs / f"repeat-{attempt.repeat:02d}-{attempt.folder.path.name}-{node.id}.log"
            process = await self._deployers[node.id].start(self.run, start, log)
            self._workers[node.id] = hub.worker(node, process, attempt.deadlines.silence_s)
        return await self._each("starting", lambda worker: worker.hello(attempt.deadlines.start_s))

    async def _load(self, attempt: Attempt) -> dict[str, messages.Loaded]:
        """Load the cloud, whose data plane the edges then connect to."""
        self._on_phase("loading", 0, 1)
        server = new_keypair() if attempt.curve else None
        clients = {name: new_keypair() for name in attempt.ids("edge")} if attempt.curve else {}
        answers: dict[str, messages.Loaded] = {}
        endpoint: str | None = None
        for node in sorted(attempt.participants, key=lambda node: node.role != "cloud"):
            edge, folder = node.role == "edge", self._deployers[node.id]
            load = messages.Load(
                profile=node.profile,
                role=node.role,
                repeat=attempt.repeat,
                config=attempt.config,
                artefact=await folder.push(attempt.artefact, attempt.artefact_hash),
                artefact_hash=attempt.artefact_hash,
                bundle=await folder.push(attempt.bundle, attempt.bundle_hash) if edge else None,
                bundle_hash=attempt.bundle_hash if edge else None,
                out_dir=folder.node_folder(self.run, attempt.folder.path, node.id),
                run=self.run,
                data_endpoint=endpoint if edge else None,
                data_keys=clients.get(node.id) if edge else server,
                data_server_public=server.public if server is not None and edge else None,
                allowed_clients=[] if edge else [keys.public for keys in clients.values()],
            )
            answers[node.id] = await self._workers[node.id].ask(load, "loading", attempt.deadlines.load_s)
            endpoint = answers[node.id].data_endpoint or endpoint
        return answers

    async def _requests(self, attempt: Attempt, edges: list[Worker], least_s: float) -> dict[str, int]:
        """Have all edges make their requests at once while the others serve; how many each of them measured."""
        total = len(attempt.samples)
        first = attempt.repeat * total
        order = messages.Measure(samples=list(attempt.samples), first_request_id=first, min_duration_s=least_s)
        done = {edge.node.id: 0 for edge in edges}

        def progress(name: str) -> Callable[[int, int], None]:
            def report(count: int, of: int) -> None:
                done[name] = count
                self._on_phase("measuring", min(done.values()), total)

            return report

        self._on_phase("measuring", 0, total)
        for edge in edges:
            edge.on_progress = progress(edge.node.id)
        others = [worker for worker in self._workers.values() if worker not in edges]
        work = {edge.node.id: edge.ask(order, "measuring") for edge in edges}
        answers: dict[str, messages.Measured] = await self._beside(work, others)
        counts = {name: answer.detail.requests for name, answer in answers.items()}
        self._on_phase("measuring", min(total, *counts.values()), total)
        return counts

    async def _sync(self, attempt: Attempt, when: Literal["before", "after"]) -> list[ClockEstimate]:
        self._on_phase("syncing clocks", 0, 1)
        return await clocks.exchange(self._workers.values(), attempt.repeat, when)

    async def _each(
        self, doing: str, ask: Callable[[Worker], Awaitable[Any]], workers: list[Worker] | None = None
    ) -> dict[str, Any]:
        """Ask workers, or all of them, at once; a failure names every node that failed."""
        asked = list(self._workers.values()) if workers is None else workers
        names = [worker.node.id for worker in asked]
        answers = await asyncio.gather(*map(ask, asked), return_exceptions=True)
        failures = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, Exception)}
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        if len(failures) == 1:
            raise next(iter(failures.values()))
        if failures:
            raise NodeFailures(doing, failures)
        return dict(zip(names, answers, strict=True))

    async def _beside(self, work: Mapping[str, Awaitable[Any]], others: list[Worker]) -> dict[str, Any]:
        """Wait for some workers' work while watching that the other ones live; the first failure ends it."""
        running = {name: asyncio.ensure_future(each) for name, each in work.items()}
        watching = [asyncio.ensure_future(other.watch("serving")) for other in others]
        left = set(running.values())
        try:
            while left:
                ended, _ = await asyncio.wait({*left, *watching}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended & left:
                    task.result()
                left -= ended
                if left:
                    for watch in ended.intersection(watching):
                        watch.result()  # why the worker that was watched is gone
            return {name: task.result() for name, task in running.items()}
        finally:
            for task in (*running.values(), *watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, TestbedError):
                    await task
