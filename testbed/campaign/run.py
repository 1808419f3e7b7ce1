"""A plan is carried out: in its order, from where it was left, until it is done or interrupted."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timezone
from typing import Protocol

from testbed.campaign import order, provenance
from testbed.campaign.aside import held, set_aside
from testbed.campaign.collect import collect_cell, give_up, is_whole, with_facts
from testbed.campaign.heat import Heat
from testbed.campaign.plan import Plan, PlannedCell
from testbed.deploy.deployer import Claim
from testbed.deploy.reach import deployer
from testbed.errors import DeployError, DiskError, NodeFailures, RecordError, TestbedError
from testbed.link.messages import Arrivals, CellConfig
from testbed.orchestrator import Attempt, Orchestrator, taking_part
from testbed.orchestrator.shaping import may_use_kernel
from testbed.record.documents import AttemptRecord, FailureRecord, Invocation, Status
from testbed.record.log import write_json
from testbed.record.reader import read_document
from testbed.record.schedules import ChosenSchedule
from testbed.record.schema import SCHEMA_VERSION
from testbed.validity.requests import MAX_FAILED_SHARE


class Observer(Protocol):
    """Told how a campaign goes, for progress bars."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""

    def phase(self, name: str, done: int, total: int) -> None:
        """The attempt's present phase and how far it is."""

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """What is being done on a node, how many bytes of how many (0: unknown); without `what` it is over."""


RETRIES = 2
"""How often `on_error: retry` tries a repeat again."""


class Campaign:
    """Runs a plan. `interrupt` once ends it at the next point where that loses little, twice now."""

    def __init__(self, plan: Plan, observer: Observer, invocation: Invocation) -> None:
        self.plan = plan
        self._observer = observer
        self._invocation = invocation
        self._code = provenance.Unchanged()
        self._orchestrator: Orchestrator | None = None
        claim = Claim.of(plan.experiment.name)
        tc = _may_use_kernel(plan)
        self._deployers = {node.id: deployer(node.profile, claim, tc=tc) for node in plan.nodes}
        self._heat = Heat(plan, observer.message)
        self._measuring: asyncio.Task[None] | None = None
        self._unwritten: dict[str, list[str]] = {}
        self.interrupts = 0
        self.begun = 0
        """How many repeats were begun."""
        self._tries = 0

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.interrupts += 1
        if self.interrupts == 1 and self._orchestrator is not None:
            how = self._orchestrator.cancel()
            self._observer.message(f"Ending {how}; Ctrl-C again stops now.")
        elif self._measuring is not None:
            self._measuring.cancel()

    async def run(self, *, fresh: bool = False) -> list[Status]:
        """Measure what is missing, or `fresh`, all of it anew, and collect; returns how each cell ended.

        Raises:
            RecordError: another campaign is writing to the same folder, or what was recorded there is damaged.
        """
        with held(self.plan.folder):
            moved = set_aside(self.plan.folder, {cell.cell for cell in self.plan.cells}, fresh=fresh)
            if moved is not None:
                why = "--fresh measures anew" if fresh else "of another configuration, code or device"
                self._observer.message(f"Earlier results ({why}) were moved to {moved}.")
            missing = self.plan.missing()
            of = len(self.plan.cells) * self.plan.experiment.repeats
            if not missing:
                self._observer.message(f"All {of} repeats are measured already; --fresh measures them anew.")
            elif len(missing) < of:
                self._observer.message(f"{of - len(missing)} of {of} repeats are measured already; the others follow.")
            if missing:
                self._heat.begin()
            anew = {cell.cell for _, cell in missing}
            for cell in self.plan.cells:
                if not is_whole(cell.folder):
                    anew.add(cell.cell)
                    self._open(cell)
            # A task of its own: what an interrupt stops is never the collecting after it.
            self._measuring = asyncio.create_task(self._measure(missing))
            try:
                await asyncio.wait({self._measuring})
                if not self._measuring.cancelled():
                    self._measuring.result()
            finally:
                for node in self._deployers.values():
                    await node.close()
            return [
                self._collect(cell) if cell.cell in anew else read_document(cell.folder.status, Status)
                for cell in self.plan.cells
            ]

    def _open(self, cell: PlannedCell) -> None:
        """Say what is about to be measured; how an earlier run of the cell ended no longer holds."""
        try:
            cell.folder.status.unlink(missing_ok=True)
        except OSError as error:
            raise DiskError.of(cell.folder.status, error) from error
        opening = self.plan.opening(cell, self._invocation)
        write_json(cell.folder.manifest, with_facts(opening, self.plan.repeats(cell)))

    def _collect(self, cell: PlannedCell) -> Status:
        """What became of a cell; where its tables cannot be made, that, and the other cells are still collected."""
        try:
            return collect_cell(cell.folder)
        except RecordError as error:
            return give_up(cell.folder, self.plan.experiment.repeats, [*self._unwritten.get(cell.cell, []), str(error)])

    async def _measure(self, missing: list[tuple[int, PlannedCell]]) -> None:
        of, on_error = self.plan.experiment.repeats, self.plan.experiment.on_error
        for number, (repeat, cell) in enumerate(missing, start=1):
            for left in reversed(range(RETRIES + 1 if on_error == "retry" else 1)):
                if self.interrupts:
                    return
                self._observer.attempt(number, len(missing), f"{cell.label} ({repeat + 1}/{of})")
                self.begun = number
                error, noted = await self._try(cell, repeat)
                if error is None:
                    break
                again = f"; it is tried again, {left} times at most" if left and noted else ""
                self._observer.message(f"{cell.label}, repeat {repeat + 1}: {error}{again}")
                if not noted or (not left and (on_error == "stop" or _unusable(error))):
                    return

    async def _try(self, cell: PlannedCell, repeat: int) -> tuple[TestbedError | None, bool]:
        """Measure a repeat; returns why that failed, and whether the disk took the reason."""
        self._tries += 1
        run = f"{cell.cell}-{repeat}-{os.getpid()}-{self._tries}"
        self._orchestrator = Orchestrator(run, self._observer.phase, self._deployers, self._observer.step)
        attempt = self._attempt(cell, repeat)
        try:
            self._open(cell)
            self._code.check()
            if await self._orchestrator.attempt(attempt):
                self._heat.learn(read_document(attempt.folder.record, AttemptRecord))
        except TestbedError as error:
            return error, self._noted(cell, repeat, attempt, error)
        finally:
            self._orchestrator = None
        return None, True

    def _schedules(self, cell: PlannedCell) -> dict[str, ChosenSchedule]:
        """What each edge of a cell chose in the first of its repeats that was measured: the others do the same."""
        records = [repeat.record for repeat in self.plan.repeats(cell) if repeat.record is not None]
        if cell.config.schedule is None or not records:
            return {}
        return {name: told.schedule for name, told in records[0].nodes.items() if told.schedule is not None}

    def _noted(self, cell: PlannedCell, repeat: int, attempt: Attempt, error: TestbedError) -> bool:
        """Write down why an attempt failed; False where the disk does not take even that."""
        try:
            write_json(attempt.folder.failure, _failure(error))
        except DiskError:
            self._unwritten.setdefault(cell.cell, []).append(f"repeat {repeat}: {error}")
            return False
        return True

    def _attempt(self, cell: PlannedCell, repeat: int) -> Attempt:
        artefact, artefact_hash = cell.deployed()
        plan, experiment, scenario = self.plan, self.plan.experiment, cell.config.scenario
        wanted = plan.samples if scenario.requests is None else scenario.requests
        drawn = order.samples(plan.samples, wanted, scenario.warmup, seed=experiment.seed, repeat=repeat)
        return Attempt(
            folder=cell.folder.next_attempt(repeat),
            logs=cell.folder.logs,
            repeat=repeat,
            config=CellConfig(
                mode=cell.spec.mode,
                codec=cell.spec.codec,
                window=cell.spec.window,
                chunks=cell.config.chunks,
                schedule=cell.config.schedule,
                exit=None if cell.rule is None else cell.rule.config,
                fallback=cell.spec.fallback,
                timeout_ms=scenario.timeout_ms,
                deadline_ms=scenario.deadline_ms,
                faults=bool(cell.config.faults),
            ),
            participants=taking_part(plan.nodes, cell.spec.mode),
            artefact=artefact,
            artefact_hash=artefact_hash,
            bundle=plan.bundle_folder,
            bundle_hash=plan.bundle.card.hash,
            samples=drawn.measured,
            warmup=drawn.warmup,
            arrivals=Arrivals(
                kind=scenario.kind, target_qps=scenario.target_qps, seed=f"{experiment.seed}/{repeat}/arrivals"
            ),
            idle_s=experiment.idle_s,
            curve=experiment.curve,
            deadlines=experiment.deadlines,
            link=cell.link,
            shaping=experiment.shaping,
            capture=cell.config.capture,
            faults=cell.config.faults,
            cooldown=cell.config.cooldown,
            as_warm_as=self._heat.first,
            schedules=self._schedules(cell),
            may_lose=int(MAX_FAILED_SHARE * len(drawn.measured) * experiment.repeats),
        )


def _may_use_kernel(plan: Plan) -> bool:
    """Whether a link of the campaign may be shaped by the nodes' kernels, for which they need a package more."""
    linked = any(cell.link is not None for cell in plan.cells)
    clouds = [node for node in plan.nodes if node.role == "cloud"]
    return linked and any(may_use_kernel(plan.experiment.shaping, cloud) for cloud in clouds)


def _failure(error: TestbedError) -> FailureRecord:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return FailureRecord(schema=SCHEMA_VERSION, t=now, kind=type(error).__name__, message=str(error))


def _unusable(error: Exception) -> bool:
    """Whether a node, or the disk, could not be used at all, so that the other repeats would fare no better."""
    every = error.failures.values() if isinstance(error, NodeFailures) else [error]
    return any(isinstance(each, (DeployError, DiskError)) for each in every)
