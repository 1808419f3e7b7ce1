"""The workers of one repeat: started, loaded, asked at once, struck by faults, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from devices.profile import Profile, Settings
from testbed.deploy.deployer import Deployer
from testbed.errors import NodeFailures, TestbedError
from testbed.link import messages
from testbed.link.keys import new_keypair
from testbed.link.messages import Body, WorkerStart
from testbed.link.shaping.shaper import Disturbance
from testbed.orchestrator.attempt import Attempt, NodeStep, Phase
from testbed.orchestrator.control import ControlHub
from testbed.orchestrator.participants import Participant
from testbed.orchestrator.shaping import choose
from testbed.orchestrator.worker import Worker
from testbed.record.noderecord import Role

T = TypeVar("T")

GOODBYE_S = 3.0
REASON_S = 0.5
RESTORE_S = 20.0
"""How much longer a worker may take to end that puts its board's settings back: each tool takes a second or two."""


class Crew:
    """The workers of one attempt, one for each participant.

    Attributes:
        workers: those that were started, by participant.
    """

    def __init__(
        self, hub: ControlHub, attempt: Attempt, deployers: Mapping[str, Deployer], run: str, on_step: NodeStep
    ) -> None:
        self._hub, self._attempt, self._deployers, self._run = hub, attempt, deployers, run
        self._on_step = on_step
        self.workers: dict[str, Worker] = {}
        self._orders: dict[str, messages.Load] = {}
        self._shaping: list[str] = []
        self._schedules: dict[str, messages.Follow] = {}

    @property
    def edges(self) -> list[Worker]:
        """The workers that make requests."""
        return [self.workers[name] for name in self._attempt.ids("edge")]

    async def start(self) -> dict[str, messages.Hello]:
        """Start them all; returns what each says first."""
        for node in self._attempt.participants:
            await self._start(node)
        return await self.each("starting", lambda worker: worker.hello(self._attempt.deadlines.start_s))

    async def load(self) -> dict[str, messages.Loaded]:
        """Choose who shapes the link, and load the cloud, whose data plane the edges then connect to."""
        attempt = self._attempt
        server = new_keypair() if attempt.curve else None
        clients = {name: new_keypair() for name in attempt.ids("edge")} if attempt.curve else {}
        chosen = await choose(attempt, self._ask_shaping)
        answers: dict[str, messages.Loaded] = {}
        endpoint: str | None = None
        for node in sorted(attempt.participants, key=lambda node: node.role != "cloud"):
            edge, folder = node.role == "edge", self._deployers[node.id]
            emulated = node.profile.emulates is not None
            step = functools.partial(self._on_step, node.id)
            self._orders[node.id] = messages.Load(
                profile=node.profile,
                role=node.role,
                repeat=attempt.repeat,
                config=attempt.config,
                artefact=await folder.push(attempt.artefact, attempt.artefact_hash, step),
                artefact_hash=attempt.artefact_hash,
                bundle=await folder.push(attempt.bundle, attempt.bundle_hash, step) if edge or emulated else None,
                bundle_hash=attempt.bundle_hash if edge or emulated else None,
                out_dir=folder.node_folder(self._run, attempt.folder.path, node.id),
                outputs=folder.outputs_folder() if emulated else None,
                run=self._run,
                data_endpoint=endpoint if edge else None,
                data_keys=clients.get(node.id) if edge else server,
                data_server_public=server.public if server is not None and edge else None,
                allowed_clients=[] if edge else [keys.public for keys in clients.values()],
                link=attempt.link,
                shaping=chosen.shaping,
                because=chosen.because,
                peers=[] if edge else chosen.edges_at,
                capture=attempt.capture and edge,
            )
            step("", 0, 0)
            answers[node.id] = await self._load(node.id)
            endpoint = answers[node.id].data_endpoint or endpoint
        self._shaping = [name for name, answer in answers.items() if answer.detail.shaping is not None]
        return answers

    async def follow(self, edge: str, schedule: messages.Follow) -> None:
        """Have an edge answer by a schedule, and whoever takes its place."""
        self._schedules[edge] = schedule
        await self.workers[edge].ask(schedule, "taking its schedule")

    async def compute_ahead(self, on_phase: Phase) -> None:
        """Have emulated nodes compute what will be measured, all at once."""
        emulated = [worker for worker in self.workers.values() if worker.node.profile.emulates is not None]
        if emulated:
            on_phase("computing ahead", 0, 1)
            ways = {tuple(followed.chunks) for followed in self._schedules.values()}
            chunks = [list(way) for way in sorted(ways)]
            order = messages.ComputeAhead(samples=list(self._attempt.samples), chunks=chunks)
            await ask_all("computing ahead", lambda worker: worker.ask(order, "computing ahead"), emulated)

    async def each(self, doing: str, ask: Callable[[Worker], Awaitable[Any]]) -> dict[str, Any]:
        """Ask them all at once; returns their answers by participant.

        Raises:
            TestbedError: of the one that failed, or one that names every node that failed.
        """
        return await ask_all(doing, ask, self.workers.values())

    async def served(self, work: Awaitable[T]) -> T:
        """Wait for what edges do while the others serve them.

        Raises:
            TestbedError: of the work, or of one that does not serve any more, at once.
        """
        others = [worker for name, worker in self.workers.items() if name not in self._attempt.ids("edge")]
        done = await beside({"edges": work}, [worker.watch("serving") for worker in others])
        result: T = done["edges"]
        return result

    def tell(self, body: Body) -> None:
        """Send all an order that has no answer."""
        for worker in self.workers.values():
            worker.tell(body)

    async def begin_link(self) -> None:
        """Have the link's time begin anew with what is sent next."""
        await self._tell_shapers(messages.BeginLink(), "beginning the link")

    async def disturb(self, disturbance: Disturbance) -> None:
        """Replace the link's present disturbance."""
        await self._tell_shapers(messages.Disturb(disturbance=disturbance), "disturbing the link")

    def one_of(self, role: Role) -> str:
        """The participant that a role's fault happens to: its first."""
        return self._attempt.ids(role)[0]

    async def signal(self, node: str, number: signal.Signals) -> None:
        """Send a worker's process a signal."""
        await self.workers[node].process.signal(number)

    async def begin_again(self, node: str) -> None:
        """Start a worker in the place of one that ended, under the same keys and on the same port, and load it.

        Raises:
            TestbedError: it does not get so far.
        """
        await asyncio.wait_for(self.workers[node].process.wait(), GOODBYE_S)
        (participant,) = (each for each in self._attempt.participants if each.id == node)
        await self._start(participant)
        await self.workers[node].hello(self._attempt.deadlines.start_s)
        await self._load(node)
        if node in self._schedules:
            await self.follow(node, self._schedules[node])

    async def dismiss(self) -> None:
        """Say goodbye and see their processes end; more than once does no harm."""
        await asyncio.gather(*(worker.dismiss(_goodbye_s(worker.node.profile)) for worker in self.workers.values()))
        self.workers = {}

    async def _start(self, node: Participant) -> None:
        attempt = self._attempt
        start = WorkerStart(
            control_endpoint=self._hub.endpoint,
            control_public=self._hub.keys.public,
            keys=self._hub.client_keys[node.id],
            node=node.id,
            root=node.profile.root,
            silence_s=attempt.deadlines.silence_s,
        )
        log = attempt.logs / f"repeat-{attempt.repeat:02d}-{attempt.folder.path.name}-{node.id}.log"
        process = await self._deployers[node.id].start(self._run, start, log)
        self.workers[node.id] = self._hub.worker(node, process, attempt.deadlines.silence_s)

    async def _load(self, node: str) -> messages.Loaded:
        order = self._orders[node]
        loaded: messages.Loaded = await self.workers[node].ask(order, "loading", self._attempt.deadlines.load_s)
        if loaded.data_endpoint is not None:  # one that takes its place is to be found where it was
            port = int(loaded.data_endpoint.rpartition(":")[2])
            profile = msgspec.structs.replace(order.profile, data_port=port)
            self._orders[node] = msgspec.structs.replace(order, profile=profile)
        return loaded

    async def _ask_shaping(self, node: str, order: messages.AskShaping) -> messages.CanShape:
        answer: messages.CanShape = await self.workers[node].ask(
            order, "asking whether its kernel can shape", self._attempt.deadlines.load_s
        )
        return answer

    async def _tell_shapers(self, order: Body, doing: str) -> None:
        await ask_all(doing, lambda worker: worker.ask(order, doing, aside=True), self._shapers())

    def _shapers(self) -> Iterable[Worker]:
        return [self.workers[name] for name in self._shaping]


async def ask_all(doing: str, ask: Callable[[Worker], Awaitable[Any]], asked: Iterable[Worker]) -> dict[str, Any]:
    """Ask workers at once; returns their answers by participant.

    Raises:
        TestbedError: of the one that failed, or one that names every node that failed.
    """
    workers = list(asked)
    names = [worker.node.id for worker in workers]
    answers = await asyncio.gather(*map(ask, workers), return_exceptions=True)
    failures = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, Exception)}
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
    if len(failures) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise NodeFailures(doing, failures)
    return dict(zip(names, answers, strict=True))


async def beside(work: Mapping[str, Awaitable[Any]], watches: Iterable[Awaitable[None]]) -> dict[str, Any]:
    """Wait for work by name while something else is watched, which never ends well; the first failure ends it.

    Where work fails because of what is watched, such as of a lost connection, that may become known a moment later. It
    is then what is raised.
    """
    running = {name: asyncio.ensure_future(each) for name, each in work.items()}
    watching = [asyncio.ensure_future(watch) for watch in watches]
    left = set(running.values())
    try:
        while left:
            ended, _ = await asyncio.wait({*left, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended & left:
                if watching and task.exception() is not None:
                    gone, _ = await asyncio.wait(watching, timeout=REASON_S, return_when=asyncio.FIRST_COMPLETED)
                    for watch in gone:
                        watch.result()
                task.result()
            left -= ended
            if left:
                for watch in ended.intersection(watching):
                    watch.result()  # why what was watched is gone
        return {name: task.result() for name, task in running.items()}
    finally:
        for task in (*running.values(), *watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TestbedError):
                await task


def _goodbye_s(profile: Profile) -> float:
    return GOODBYE_S + (RESTORE_S if profile.settings != Settings() else 0.0)
