"""The life of one repeat of one cell.

Reach the nodes → start workers → load → warm up → sync clocks → idle baseline → measure → idle baseline → sync clocks →
finish → dismiss → fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from devices.profile import Profile, Settings, SshReach
from testbed import clocks
from testbed.control import ControlHub, Worker
from testbed.deploy.deployer import Claim, Deployer
from testbed.deploy.local import LocalDeployer
from testbed.errors import DeployError, NodeFailures, TestbedError, WorkerError
from testbed.experiment import Deadlines
from testbed.link import messages
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import CellConfig, WorkerStart
from testbed.record.documents import AttemptRecord, NodeRepeat, Role
from testbed.record.log import write_json
from testbed.record.metering import rest_s, window_s
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockRecord

ATTEMPT_FILE = "attempt.json"
"""Written last into an attempt's folder: an attempt without it was interrupted."""

GOODBYE_S = 3.0
RESTORE_S = 20.0
"""How much longer a worker may take to end that puts its board's settings back: each tool takes a second or two."""
CANCEL_S = 10.0
ROLES: tuple[Role, Role] = ("cloud", "edge")

Phase = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, of how much."""


@dataclass(frozen=True)
class Attempt:
    """One try at one repeat of one cell. Folders are on the workstation; `samples` index the bundle."""

    folder: Path
    logs: Path
    repeat: int
    config: CellConfig
    profiles: dict[Role, Profile]
    artefact: Path
    artefact_hash: str
    bundle: Path
    bundle_hash: str
    samples: Sequence[int]
    warmup: Sequence[int]
    idle_s: float
    curve: bool
    deadlines: Deadlines


def deployer(profile: Profile, claim: Claim) -> Deployer:
    """The way to reach a node, on behalf of a campaign."""
    if isinstance(profile.reach, SshReach):
        from testbed.deploy.ssh import SshDeployer  # loads a fifth of a second of cryptography

        return SshDeployer(profile, claim)
    return LocalDeployer(profile)


def _goodbye_s(profile: Profile) -> float:
    return GOODBYE_S + (RESTORE_S if profile.settings != Settings() else 0.0)


def _needed(attempt: Attempt, loaded: Mapping[Role, messages.Loaded]) -> tuple[float, float]:
    """How long to rest and to measure at the least, in s: as asked for, or as the power sources need."""
    rests, windows = [attempt.idle_s], [0.0]
    for role, answer in loaded.items():
        if role == "cloud" and attempt.config.mode == "edge_only":
            continue  # it has nothing to do, and no energy
        rates = [spec.rate_hz for spec in attempt.profiles[role].power]
        for capability, rate_hz in zip(answer.detail.power, rates, strict=True):
            windows.append(window_s(capability.averaging_ms, rate_hz))
            if role == "edge":  # the baseline of net energy is the edge's alone
                rests.append(rest_s(capability.averaging_ms, rate_hz))
    return max(rests), max(windows)


def _idle(seconds: float, when: Literal["before", "after"]) -> messages.Idle:
    return messages.Idle(seconds=seconds, phase=f"idle_{when}")


class Orchestrator:
    """Runs attempts, one after the other; `cancel` ends the running one at its next request."""

    def __init__(self, run: str, on_phase: Phase, deployers: Mapping[Role, Deployer]) -> None:
        self.run = run
        self._deployers = deployers
        self._on_phase = on_phase
        self._workers: dict[Role, Worker] = {}
        self.cancelled = False

    def cancel(self) -> None:
        """End the running attempt at its next request; what it measured is collected."""
        self.cancelled = True
        for worker in self._workers.values():
            worker.tell(messages.Cancel())

    async def attempt(self, attempt: Attempt) -> bool:
        """Measure one repeat; returns whether all of it was measured (False: cancelled).

        Raises:
            TestbedError: with the names of the nodes that failed. What was recorded is on disk.
        """
        await self._reach(attempt)
        async with ControlHub(self.run) as hub:
            self._workers = {}
            try:
                document = await self._measure(hub, attempt)
            except asyncio.CancelledError:
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
            write_json(attempt.folder / ATTEMPT_FILE, document)
        return document is not None

    async def _reach(self, attempt: Attempt) -> None:
        """Open both nodes, or find them open.

        Raises:
            TestbedError: one cannot be used, or the edge could never reach the cloud.
        """
        self._on_phase("reaching nodes", 0, 1)
        opened = await asyncio.gather(*(self._deployers[role].open() for role in ROLES), return_exceptions=True)
        failures = {role: error for role, error in zip(ROLES, opened, strict=True) if error is not None}
        for error in failures.values():
            if len(failures) == 1 or not isinstance(error, TestbedError):
                raise error
        if failures:
            raise NodeFailures("reaching nodes", failures)
        cloud, edge = (attempt.profiles[role] for role in ROLES)
        alone = cloud.address == "localhost" or cloud.address.startswith("127.") or cloud.address == "::1"
        if (
            attempt.config.mode != "edge_only"
            and alone
            and len({await each.boot_id() for each in self._deployers.values()}) > 1
        ):
            raise DeployError(
                f"{cloud.name}: {edge.name} is another machine and cannot reach {cloud.address}; set `address:` in the "
                "profile to where the edge reaches this node"
            )

    async def _bring_home(self, attempt: Attempt) -> list[TestbedError]:
        """Dismiss the workers and fetch what they recorded; returns what went wrong."""
        goodbyes = (worker.dismiss(_goodbye_s(attempt.profiles[role])) for role, worker in self._workers.items())
        await asyncio.gather(*goodbyes)
        self._workers = {}
        fetches = (self._deployers[role].fetch(self.run, role, attempt.folder) for role in ROLES)
        fetched = await asyncio.gather(*fetches, return_exceptions=True)
        for error in fetched:
            if error is not None and not isinstance(error, TestbedError):
                raise error
        return [error for error in fetched if isinstance(error, TestbedError)]

    async def _measure(self, hub: ControlHub, attempt: Attempt) -> AttemptRecord | None:
        """Returns what attempt.json is to say; None when it was cancelled."""
        started = time.monotonic()
        facts = await self._start(hub, attempt)
        loaded = await self._load(attempt)
        idle_s, least_s = _needed(attempt, loaded)
        edge = self._workers["edge"]
        self._on_phase("warm-up", 0, len(attempt.warmup))
        await edge.ask(messages.WarmUp(samples=list(attempt.warmup)), "warming up")
        clock = await self._sync(attempt, "before")
        self._on_phase("idle baseline", 0, 1)
        await self._each("resting", lambda worker: worker.ask(_idle(idle_s, "before"), "resting before measuring"))
        total = len(attempt.samples)
        edge.on_progress = lambda done, _: self._on_phase("measuring", done, total)
        self._on_phase("measuring", 0, total)
        first = attempt.repeat * total
        order = messages.Measure(samples=list(attempt.samples), first_request_id=first, min_duration_s=least_s)
        cloud = self._workers["cloud"]
        async with clocks.during(self._workers.values(), attempt.repeat) as exchanged:
            answer = await self._beside(edge.ask(order, "measuring"), cloud)
        clock += exchanged
        measured = int(answer.detail.requests)
        self._on_phase("measuring", min(measured, total), total)
        self._on_phase("idle baseline", 1, 1)
        await self._each("resting", lambda worker: worker.ask(_idle(idle_s, "after"), "resting after measuring"))
        clock += await self._sync(attempt, "after")
        finished = await self._each("finishing", lambda worker: worker.ask(messages.Finish(), "closing its record"))
        if measured < total or self.cancelled:
            return None
        return AttemptRecord(
            schema=SCHEMA_VERSION,
            seconds=time.monotonic() - started,
            requests={edge.node: measured},
            min_duration_s=least_s,
            idle_s=idle_s,
            clock=ClockRecord(estimates=clock, lines=clocks.lines(clock)),
            nodes={
                self._workers[role].node: NodeRepeat(
                    hello=facts[role].facts, loaded=loaded[role].detail, finished=finished[role].detail
                )
                for role in ROLES
            },
        )

    async def _start(self, hub: ControlHub, attempt: Attempt) -> dict[Role, messages.Hello]:
        self._on_phase("starting workers", 0, 1)
        for role in ROLES:
            node = attempt.profiles[role].name
            start = WorkerStart(
                control_endpoint=hub.endpoint,
                control_public=hub.keys.public,
                keys=hub.client_keys[role],
                node=node,
                root=attempt.profiles[role].root,
                silence_s=attempt.deadlines.silence_s,
            )
            process = await self._deployers[role].start(
                role, self.run, start, attempt.logs / f"repeat-{attempt.repeat:02d}-{attempt.folder.name}-{role}.log"
            )
            worker = Worker(hub, role, node, process, attempt.deadlines.silence_s)
            self._workers[role] = hub.workers[role] = worker
        return await self._each("starting", lambda worker: worker.hello(attempt.deadlines.start_s))

    async def _load(self, attempt: Attempt) -> dict[Role, messages.Loaded]:
        """Load the cloud, whose data plane the edge then connects to."""
        self._on_phase("loading", 0, 1)
        server = new_keypair() if attempt.curve else None
        client = new_keypair() if attempt.curve else None
        answers: dict[Role, messages.Loaded] = {}
        for role in ROLES:
            folder = self._deployers[role]
            keys: KeyPair | None = server if role == "cloud" else client
            load = messages.Load(
                profile=attempt.profiles[role],
                role=role,
                repeat=attempt.repeat,
                config=attempt.config,
                artefact=await folder.push(attempt.artefact, attempt.artefact_hash),
                artefact_hash=attempt.artefact_hash,
                bundle=await folder.push(attempt.bundle, attempt.bundle_hash) if role == "edge" else None,
                bundle_hash=attempt.bundle_hash if role == "edge" else None,
                out_dir=folder.node_folder(self.run, attempt.folder, role),
                run=self.run,
                data_endpoint=answers["cloud"].data_endpoint if role == "edge" else None,
                data_keys=keys,
                data_server_public=server.public if server is not None and role == "edge" else None,
                allowed_clients=[client.public] if client is not None and role == "cloud" else [],
            )
            answers[role] = await self._workers[role].ask(load, "loading", attempt.deadlines.load_s)
        return answers

    async def _sync(self, attempt: Attempt, when: Literal["before", "after"]) -> list[ClockEstimate]:
        self._on_phase("syncing clocks", 0, 1)
        return await clocks.exchange(self._workers.values(), attempt.repeat, when)

    async def _each(self, doing: str, ask: Callable[[Worker], Awaitable[Any]]) -> dict[Role, Any]:
        """Ask both workers at once; a failure names every node that failed."""
        roles = list(self._workers)
        answers = await asyncio.gather(*(ask(self._workers[role]) for role in roles), return_exceptions=True)
        failures = {role: answer for role, answer in zip(roles, answers, strict=True) if isinstance(answer, Exception)}
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        if len(failures) == 1:
            raise next(iter(failures.values()))
        if failures:
            raise NodeFailures(doing, failures)
        return dict(zip(roles, answers, strict=True))

    async def _beside(self, work: Awaitable[Any], other: Worker) -> Any:
        """Wait for one worker's work while watching that the other one lives."""
        running = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(other.watch("serving"))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and not running.done():
                error = watching.exception()
                raise error if error is not None else WorkerError(f"{other.node} ended")
            return await running
        finally:
            for task in (running, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, TestbedError):
                    await task
