"""A plan is carried out: in its order, from where it was left, until it is done or interrupted."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import uuid
from datetime import datetime, timezone
from typing import Protocol

from testbed.campaign import order
from testbed.campaign.aside import held, set_aside
from testbed.campaign.collect import collect_cell, give_up, is_whole, with_facts
from testbed.campaign.plan import Plan, PlannedCell
from testbed.deploy.deployer import Claim
from testbed.deploy.reach import deployer
from testbed.errors import DeployError, DiskError, NodeFailures, RecordError, TestbedError
from testbed.link.messages import CellConfig
from testbed.orchestrator import Attempt, Orchestrator, taking_part
from testbed.record.documents import FailureRecord, Invocation, Status
from testbed.record.log import write_json
from testbed.record.reader import read_document
from testbed.record.schema import SCHEMA_VERSION

CLAIM_DIGITS = 10


class Observer(Protocol):
    """Told how a campaign goes, for progress bars."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""

    def phase(self, name: str, done: int, total: int) -> None:
        """The attempt's present phase and how far it is."""


class Campaign:
    """Runs a plan. `interrupt` once ends it at the next point where that loses little, twice now."""

    def __init__(self, plan: Plan, observer: Observer, invocation: Invocation) -> None:
        self.plan = plan
        self._observer = observer
        self._invocation = invocation
        self._orchestrator: Orchestrator | None = None
        owner = f"{getpass.getuser()}@{socket.gethostname()}"
        claim = Claim(owner, plan.experiment.name, uuid.uuid4().hex[:CLAIM_DIGITS])
        self._deployers = {node.id: deployer(node.profile, claim) for node in plan.nodes}
        self._measuring: asyncio.Task[None] | None = None
        self._unwritten: dict[str, list[str]] = {}
        self.interrupts = 0
        self.begun = 0
        """How many repeats were begun."""

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
        for number, (repeat, cell) in enumerate(missing, start=1):
            if self.interrupts:
                break
            title = f"{cell.label} ({repeat + 1}/{self.plan.experiment.repeats})"
            self._observer.attempt(number, len(missing), title)
            self.begun = number
            run = f"{cell.cell}-{repeat}-{os.getpid()}-{number}"
            self._orchestrator = Orchestrator(run, self._observer.phase, self._deployers)
            attempt = self._attempt(cell, repeat)
            try:
                self._open(cell)
                await self._orchestrator.attempt(attempt)
            except TestbedError as error:
                self._observer.message(f"{cell.label}, repeat {repeat + 1}: {error}")
                if not self._noted(cell, repeat, attempt, error) or _unusable(error):
                    break
            finally:
                self._orchestrator = None

    def _noted(self, cell: PlannedCell, repeat: int, attempt: Attempt, error: TestbedError) -> bool:
        """Write down why an attempt failed; False where the disk does not take even that."""
        try:
            write_json(attempt.folder.failure, _failure(error))
        except DiskError:
            self._unwritten.setdefault(cell.cell, []).append(f"repeat {repeat}: {error}")
            return False
        return True

    def _attempt(self, cell: PlannedCell, repeat: int) -> Attempt:
        plan, experiment, scenario = self.plan, self.plan.experiment, self.plan.experiment.scenario
        wanted = plan.samples if scenario.requests is None else scenario.requests
        drawn = order.samples(plan.samples, wanted, scenario.warmup, seed=experiment.seed, repeat=repeat)
        return Attempt(
            folder=cell.folder.next_attempt(repeat),
            logs=cell.folder.logs,
            repeat=repeat,
            config=CellConfig(
                mode=cell.spec.mode,
                codec=cell.spec.codec,
                exit=None if cell.rule is None else cell.rule.config,
                timeout_ms=scenario.timeout_ms,
            ),
            participants=taking_part(plan.nodes, cell.spec.mode),
            artefact=cell.artefact,
            artefact_hash=cell.card.hash,
            bundle=plan.bundle_folder,
            bundle_hash=plan.bundle.card.hash,
            samples=drawn.measured,
            warmup=drawn.warmup,
            idle_s=experiment.idle_s,
            curve=experiment.curve,
            deadlines=experiment.deadlines,
        )


def _failure(error: TestbedError) -> FailureRecord:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return FailureRecord(schema=SCHEMA_VERSION, t=now, kind=type(error).__name__, message=str(error))


def _unusable(error: Exception) -> bool:
    """Whether a node, or the disk, could not be used at all, so that the other repeats would fare no better."""
    every = error.failures.values() if isinstance(error, NodeFailures) else [error]
    return any(isinstance(each, (DeployError, DiskError)) for each in every)
