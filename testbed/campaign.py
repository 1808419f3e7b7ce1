"""An experiment as a campaign: its cells, their order, what is done already, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import getpass
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import msgspec

import testbed
from devices.base.errors import DeviceError
from devices.profile import Profile, load_profile
from testbed.data.datasets import load, source_digest
from testbed.deploy.deployer import Claim
from testbed.deploy.reach import deployer
from testbed.errors import DeployError, ExperimentError, ModelError, NodeFailures, RecordError, TestbedError
from testbed.experiment import CellSpec, Experiment, label, load_experiment
from testbed.experiment.exitrule import ExitRule, resolve
from testbed.link.codec import CodecBook, CodecError
from testbed.link.messages import CellConfig
from testbed.modes import facts_of
from testbed.orchestrator import Attempt, Orchestrator, Participant, taking_part
from testbed.orchestrator.participants import participants
from testbed.orchestrator.repeat import ATTEMPT_FILE
from testbed.record.documents import (
    AttemptRecord,
    CellDocument,
    CodeRef,
    DatasetRef,
    ExitDocument,
    Invocation,
    LinkRef,
    Manifest,
    NodeRecord,
    Role,
    ScenarioDocument,
    State,
    Status,
)
from testbed.record.log import write_atomically, write_json
from testbed.record.reader import read_cell, read_document
from testbed.record.schema import SCHEMA_VERSION, ClockRecord
from testbed.record.tables import TABLES, write_table
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.bundle import BundleCard, load_bundle, write_bundle
from testbed.runtime.digest import document_digest, file_digest
from testbed.snn import artefact
from testbed.snn.recipe import load_recipe
from testbed.validity import reasons
from testbed.version import VERSION

CELL_DIGITS = 10
PACKAGES = ("testbed", "devices")


class Observer(Protocol):
    """Told how a campaign goes, for progress bars."""

    def message(self, text: str) -> None:
        """Something worth a line."""

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""

    def phase(self, name: str, done: int, total: int) -> None:
        """The attempt's present phase and how far it is."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell with everything that decides its numbers."""

    spec: CellSpec
    rule: ExitRule | None
    position: int
    label: str
    cell: str
    folder: Path
    artefact: Path
    card: ModelCard
    config: CellDocument


@dataclass(frozen=True)
class Plan:
    """A campaign that is ready to run."""

    experiment: Experiment
    folder: Path
    nodes: list[Participant]
    bundle: Path
    bundle_card: BundleCard
    samples: int
    code: CodeRef
    cells: list[PlannedCell]

    def missing(self) -> list[tuple[int, PlannedCell]]:
        """The (repeat, cell) pairs that no complete attempt covers, in the order they are run.

        Repeat after repeat, the cells of each in an order of their own drawn from the seed: what drifts
        while the campaign runs then touches every cell alike.
        """
        order: list[tuple[int, PlannedCell]] = []
        rng = random.Random(self.experiment.seed)  # noqa: S311  (an order, not a secret)
        for repeat in range(self.experiment.repeats):
            cells = list(self.cells)
            rng.shuffle(cells)
            order += [(repeat, cell) for cell in cells if complete_attempt(cell.folder, repeat) is None]
        return order

    def seconds_per_repeat(self) -> float | None:
        """Median duration of the complete attempts; None before there is one."""
        done = [
            complete_attempt(cell.folder, repeat) for cell in self.cells for repeat in range(self.experiment.repeats)
        ]
        seconds = [read_document(path / ATTEMPT_FILE, AttemptRecord).seconds for path in done if path]
        return statistics.median(seconds) if seconds else None


def plan(
    path: Path,
    results: Path,
    *,
    overrides: tuple[str, ...] = (),
    edge: Path | None = None,
    cloud: Path | None = None,
    data: Path | None = None,
) -> Plan:
    """Read an experiment and everything it names.

    Raises:
        TestbedError: a file says something wrong, or a model or data set is not there.
    """
    experiment = load_experiment(path, overrides)
    profiles: dict[Role, Profile] = {
        "edge": _profile(edge or experiment.nodes.edge),
        "cloud": _profile(cloud or experiment.nodes.cloud),
    }
    if profiles["edge"].name == profiles["cloud"].name:
        raise ExperimentError(
            f"edge and cloud are both named {profiles['edge'].name!r}; their rows could not be told apart"
        )
    recipes = {model.recipe for model in experiment.models.values()}
    if len({load_recipe(recipe).dataset for recipe in recipes}) > 1:
        raise ExperimentError(f"{path}: the models of one experiment must share their data set")
    artefacts = {
        name: artefact.ensure(model.recipe, model.variant, results / "models", data)
        for name, model in experiment.models.items()
    }
    cards = {name: load_card(folder) for name, folder in artefacts.items()}
    bundle, bundle_card = _bundle(next(iter(recipes)), results / "bundles", data)
    samples = len(load_bundle(bundle))
    code = _code()
    folder = results / experiment.name
    cells = []
    for position, spec in enumerate(experiment.cells):
        card = cards[spec.model]
        _check_codec(spec, card, artefacts[spec.model])
        rule = resolve(spec, experiment.models[spec.model], results / "models", data, card)
        config = CellDocument(
            mode=spec.mode,
            model=spec.model,
            codec=spec.codec,
            exit=None if rule is None else msgspec.convert(rule.document, ExitDocument),
            scenario=msgspec.convert(experiment.scenario.model_dump(mode="json"), ScenarioDocument),
            idle_s=experiment.idle_s,
            seed=experiment.seed,
            curve=experiment.curve,
            samples=samples,
            position=position,
            baseline=facts_of(spec.mode).roles == ("edge",) and spec.exit is None,
        )
        decisive = msgspec.to_builtins(config)
        del decisive["position"], decisive["baseline"]
        document = {
            "config": decisive,
            "artefact": card.hash,
            "bundle": bundle_card.hash,
            "code": code.sha256,
            "nodes": {role: msgspec.to_builtins(profile) for role, profile in profiles.items()},
        }
        cell = document_digest(document)[:CELL_DIGITS]
        text = label(spec, card.compression or 32.0)
        cells.append(PlannedCell(spec, rule, position, text, cell, folder / cell, artefacts[spec.model], card, config))
    nodes = participants(profiles.items())
    return Plan(experiment, folder, nodes, bundle, bundle_card, samples, code, cells)


def complete_attempt(folder: Path, repeat: int) -> Path | None:
    """The attempt that measured all of a repeat, if there is one."""
    attempts = sorted((folder / "raw" / f"repeat-{repeat:02d}").glob("attempt-*"))
    return next((attempt for attempt in attempts if (attempt / ATTEMPT_FILE).exists()), None)


class Campaign:
    """Runs a plan. `interrupt` once ends it after the running request, twice now."""

    def __init__(self, plan: Plan, observer: Observer, invocation: Invocation) -> None:
        self.plan = plan
        self._observer = observer
        self._invocation = invocation
        self._orchestrator: Orchestrator | None = None
        claim = Claim(
            f"{getpass.getuser()}@{socket.gethostname()}", plan.experiment.name, uuid.uuid4().hex[:CELL_DIGITS]
        )
        self._deployers = {node.id: deployer(node.profile, claim) for node in plan.nodes}
        self._task: asyncio.Task[Any] | None = None
        self.interrupts = 0

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.interrupts += 1
        if self.interrupts == 1 and self._orchestrator is not None:
            self._observer.message("Ending after the running request; Ctrl-C again stops now.")
            self._orchestrator.cancel()
        elif self._task is not None:
            self._task.cancel()

    async def run(self, *, resume: bool) -> list[Status]:
        """Measure what is missing and collect; returns how each cell ended.

        Raises:
            RecordError: another campaign is writing to the same folder.
        """
        self._task = asyncio.current_task()
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.plan.folder):
            self._set_aside(resume=resume)
            for cell in self.plan.cells:
                if not (cell.folder / "status.json").exists():
                    self._write_manifest(cell)
            return await self._run()

    async def _run(self) -> list[Status]:
        failures: dict[str, list[str]] = {cell.cell: [] for cell in self.plan.cells}
        missing = self.plan.missing()
        touched = {cell.cell for _, cell in missing}
        with contextlib.suppress(asyncio.CancelledError):
            for number, (repeat, cell) in enumerate(missing, start=1):
                if self.interrupts:
                    break
                self._observer.attempt(
                    number, len(missing), f"{cell.label} ({repeat + 1}/{self.plan.experiment.repeats})"
                )
                run = f"{cell.cell}-{repeat}-{os.getpid()}-{number}"
                self._orchestrator = Orchestrator(run, self._observer.phase, self._deployers)
                (cell.folder / "status.json").unlink(missing_ok=True)
                try:
                    await self._orchestrator.attempt(self._attempt(cell, repeat))
                except TestbedError as error:
                    failures[cell.cell].append(f"repeat {repeat}: {error}")
                    self._observer.message(f"{cell.label}, repeat {repeat + 1}: {error}")
                    if _unusable(error):
                        break
                finally:
                    self._orchestrator = None
        for node in self._deployers.values():
            await node.close()
        statuses = []
        for cell in self.plan.cells:
            if cell.cell in touched or not (cell.folder / "status.json").exists():
                statuses.append(self._collect(cell, failures[cell.cell]))
            else:
                statuses.append(read_document(cell.folder / "status.json", Status))
        return statuses

    def _attempt(self, cell: PlannedCell, repeat: int) -> Attempt:
        experiment, scenario = self.plan.experiment, self.plan.experiment.scenario
        raw = cell.folder / "raw" / f"repeat-{repeat:02d}"
        number = len(list(raw.glob("attempt-*")))
        rng = random.Random(f"{experiment.seed}/{repeat}")  # noqa: S311
        wanted = self.plan.samples if scenario.requests is None else scenario.requests
        samples: list[int] = []
        while len(samples) < wanted:  # the same order in every cell of this repeat, each sample before any twice
            samples += rng.sample(range(self.plan.samples), self.plan.samples)
        warmup = [rng.randrange(self.plan.samples) for _ in range(scenario.warmup)]
        spec = cell.spec
        return Attempt(
            folder=raw / f"attempt-{number:03d}",
            logs=cell.folder / "logs",
            repeat=repeat,
            config=CellConfig(
                mode=spec.mode,
                codec=spec.codec,
                exit=None if cell.rule is None else cell.rule.config,
                timeout_ms=scenario.timeout_ms,
            ),
            participants=taking_part(self.plan.nodes, spec.mode),
            artefact=cell.artefact,
            artefact_hash=cell.card.hash,
            bundle=self.plan.bundle,
            bundle_hash=self.plan.bundle_card.hash,
            samples=samples[:wanted],
            warmup=warmup,
            idle_s=experiment.idle_s,
            curve=experiment.curve,
            deadlines=experiment.deadlines,
        )

    def _set_aside(self, *, resume: bool) -> None:
        """Move what does not belong to this plan out of the way; nothing measured is deleted.

        Without `resume` that is everything; with it, cells of another configuration, code or device.
        """
        planned = {cell.cell for cell in self.plan.cells}
        old = [path for path in self.plan.folder.iterdir() if path.name not in (".lock", ".previous")]
        if resume:
            old = [path for path in old if (path / "manifest.json").exists() and path.name not in planned]
        if not old:
            return
        target = self.plan.folder / ".previous" / datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        target.mkdir(parents=True)
        for path in old:
            path.rename(target / path.name)
        why = "of another configuration, code or device" if resume else "--resume would have gone on with them"
        self._observer.message(f"Earlier results ({why}) were moved to {target}.")

    def _write_manifest(self, cell: PlannedCell) -> None:
        experiment = self.plan.experiment
        attempts = {
            repeat: read_document(found / ATTEMPT_FILE, AttemptRecord)
            for repeat in range(experiment.repeats)
            if (found := complete_attempt(cell.folder, repeat)) is not None
        }
        nodes: dict[str, NodeRecord] = {}
        for node in taking_part(self.plan.nodes, cell.spec.mode):
            repeats = {str(repeat): attempt.nodes[node.id] for repeat, attempt in attempts.items()}
            nodes[node.id] = NodeRecord(id=node.id, role=node.role, profile=node.profile, repeats=repeats)
        data = self.plan.bundle_card
        manifest = Manifest(
            schema=SCHEMA_VERSION,
            experiment=experiment.name,
            cell=cell.cell,
            label=cell.label,
            mode=cell.spec.mode,
            sends=facts_of(cell.spec.mode).sends,
            codec=cell.spec.codec,
            exit=cell.config.exit,
            repeats=experiment.repeats,
            config=cell.config,
            dataset=DatasetRef(name=data.dataset, variant=data.variant, samples=self.plan.samples, hash=data.hash),
            model=cell.card,
            code=self.plan.code,
            nodes=nodes,
            link=LinkRef(curve=experiment.curve),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            invocation=self._invocation,
        )
        write_json(cell.folder / "manifest.json", manifest)

    def _collect(self, cell: PlannedCell, failures: list[str]) -> Status:
        """Gather what the nodes recorded into the cell's tables, judge it, and write its status last."""
        repeats = self.plan.experiment.repeats
        done = [repeat for repeat in range(repeats) if complete_attempt(cell.folder, repeat) is not None]
        chosen = []
        for repeat in range(repeats):
            attempts = sorted((cell.folder / "raw" / f"repeat-{repeat:02d}").glob("attempt-*"))
            # A repeat that no attempt completed is shown as far as its latest attempt got.
            if attempts:
                chosen.append(complete_attempt(cell.folder, repeat) or attempts[-1])
        for table, row_type in TABLES.items():
            logs = [log for folder in chosen for log in sorted(folder.glob(f"*/{table}.jsonl"))]
            write_table(cell.folder / f"{table}.parquet", row_type, logs)
        events = b"".join(_whole_lines(log) for folder in chosen for log in sorted(folder.glob("*/events.jsonl")))
        write_atomically(cell.folder / "events.jsonl", events)
        told = [read_document(path / ATTEMPT_FILE, AttemptRecord) for path in chosen if (path / ATTEMPT_FILE).exists()]
        clock = ClockRecord(
            estimates=[estimate for attempt in told for estimate in attempt.clock.estimates],
            lines=[line for attempt in told for line in attempt.clock.lines],
        )
        write_json(cell.folder / "clock.json", clock)
        self._write_manifest(cell)
        state: State = "complete"
        why = list(failures)
        valid: bool | None = None
        if failures:
            state = "failed"
        elif len(done) < repeats:
            state = "aborted"
            why = [f"{len(done)} of {repeats} repeats were measured"]
        else:
            why = reasons(read_cell(cell.folder))
            valid = not why
        status = Status(schema=SCHEMA_VERSION, state=state, valid=valid, reasons=why, repeats_done=done)
        write_json(cell.folder / "status.json", status)
        return status


def _unusable(error: Exception) -> bool:
    """Whether a node could not be used at all, so that the other repeats would fare no better."""
    every = error.failures.values() if isinstance(error, NodeFailures) else [error]
    return any(isinstance(each, DeployError) for each in every)


def _check_codec(spec: CellSpec, card: ModelCard, folder: Path) -> None:
    if spec.codec is None:
        return
    try:
        CodecBook(card.code_shape, card.code_rates).encoder(spec.codec)
    except CodecError as error:
        raise ModelError(f"{folder}: {error}; choose another codec or model, or export this one again") from error


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _profile(path: Path) -> Profile:
    try:
        return load_profile(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error


def _bundle(recipe_path: Path, folder: Path, data: Path | None) -> tuple[Path, BundleCard]:
    """The evaluation bundle: every test sample of the recipe's data set, made once."""
    recipe = load_recipe(recipe_path)
    spec = recipe.dataset.model_dump(mode="json", exclude={"path"})
    source = document_digest([spec, source_digest(recipe.dataset, data)])[:CELL_DIGITS]
    target = folder / f"{recipe.name}-{source}"
    if not target.exists():
        dataset = load(recipe.dataset, data)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        write_bundle(
            part,
            dataset.test.images,
            dataset.test.labels,
            dataset=dataset.name,
            variant=dataset.variant,
            split="test",
            seed=recipe.dataset.seed,
            classes=list(dataset.classes),
        )
        part.rename(target)
    return target, load_bundle(target).card


def _code() -> CodeRef:
    """What code measures: its version, a hash of its sources, and the commit where there is one."""
    root = Path(testbed.__file__).parent.parent
    sources = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    digest = document_digest([[str(path.relative_to(root)), file_digest(path)] for path in sources])
    git = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return CodeRef(version=VERSION, sha256=digest, commit=git.stdout.strip() or None, python=sys.version.split()[0])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the kernel lets go of it however the process ends."""
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise RecordError(f"{folder}: another testbed run is writing here ({lock.read().strip()})") from error
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
        lock.flush()
        yield
