"""An experiment with everything it names: its cells, each under a hash of all that decides its numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import msgspec

from devices.base.errors import DeviceError
from devices.profile import Profile, load_profile
from testbed.campaign import order, provenance
from testbed.campaign.bundles import evaluation_bundle
from testbed.campaign.collect import Repeat, look
from testbed.errors import ExperimentError, ModelError
from testbed.experiment import CellSpec, Experiment, label, load_experiment
from testbed.experiment.exitrule import ExitRule, resolve
from testbed.link.codec import CodecBook, CodecError
from testbed.modes import facts_of
from testbed.orchestrator import Participant, taking_part
from testbed.orchestrator.participants import participants
from testbed.record.documents import (
    CellDocument,
    CodeRef,
    DatasetRef,
    Invocation,
    LinkRef,
    Manifest,
    NodeRecord,
    Role,
    ScenarioDocument,
)
from testbed.record.layout import CellFolder, ExperimentFolder, ResultsFolder
from testbed.record.schema import SCHEMA_VERSION
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.bundle import Bundle
from testbed.runtime.digest import document_digest
from testbed.snn import artefact
from testbed.snn.recipe import load_recipe

CELL_DIGITS = 10


@dataclass(frozen=True)
class PlannedCell:
    """One cell with everything that decides its numbers."""

    spec: CellSpec
    rule: ExitRule | None
    label: str
    cell: str
    folder: CellFolder
    artefact: Path
    card: ModelCard
    config: CellDocument


@dataclass(frozen=True)
class Plan:
    """A campaign that is ready to run."""

    experiment: Experiment
    folder: ExperimentFolder
    nodes: list[Participant]
    bundle_folder: Path
    bundle: Bundle
    code: CodeRef
    cells: list[PlannedCell]

    @cached_property
    def samples(self) -> int:
        """How many samples there are to ask for."""
        return len(self.bundle)

    def repeats(self, cell: PlannedCell) -> list[Repeat]:
        """How far each repeat of a cell is on disk."""
        return look(cell.folder, self.experiment.repeats)

    def missing(self) -> list[tuple[int, PlannedCell]]:
        """The (repeat, cell) pairs that no complete attempt covers, in the order they are run."""
        found = [(cell.cell, repeat) for cell in self.cells for repeat in self.repeats(cell)]
        done = {(repeat.number, cell) for cell, repeat in found if repeat.record is not None}
        passes = order.passes(self.cells, self.experiment.repeats, self.experiment.seed)
        return [(repeat, cell) for repeat, cell in passes if (repeat, cell.cell) not in done]

    def seconds_per_repeat(self) -> float | None:
        """Median duration of the complete attempts; None before there is one."""
        records = [repeat.record for cell in self.cells for repeat in self.repeats(cell)]
        seconds = [record.seconds for record in records if record is not None]
        return statistics.median(seconds) if seconds else None

    def opening(self, cell: PlannedCell, invocation: Invocation) -> Manifest:
        """The manifest of a cell before any of its nodes has said anything."""
        data = self.bundle.card
        nodes = [
            NodeRecord(id=node.id, role=node.role, profile=node.profile)
            for node in taking_part(self.nodes, cell.spec.mode)
        ]
        return Manifest(
            schema=SCHEMA_VERSION,
            experiment=self.experiment.name,
            cell=cell.cell,
            label=cell.label,
            mode_facts=facts_of(cell.spec.mode),
            codec=cell.spec.codec,
            exit=cell.config.exit,
            repeats=self.experiment.repeats,
            config=cell.config,
            dataset=DatasetRef(name=data.dataset, variant=data.variant, samples=self.samples, hash=data.hash),
            model=cell.card,
            code=self.code,
            nodes={node.id: node for node in nodes},
            link=LinkRef(curve=self.experiment.curve),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            invocation=invocation,
        )


def make_plan(
    path: Path,
    results: Path,
    *,
    overrides: tuple[str, ...] = (),
    edge: Path | None = None,
    cloud: Path | None = None,
    data: Path | None = None,
) -> Plan:
    """Read an experiment and everything it names; what has to be trained, exported or calibrated is.

    Raises:
        TestbedError: a file says something wrong, or a model or data set is not there.
    """
    experiment, root = load_experiment(path, overrides), ResultsFolder(results)
    nodes = _nodes(edge or experiment.nodes.edge, cloud or experiment.nodes.cloud)
    recipes = {model.recipe for model in experiment.models.values()}
    if len({load_recipe(recipe).dataset for recipe in recipes}) > 1:
        raise ExperimentError(f"{path}: the models of one experiment must share their data set")
    artefacts = {
        name: artefact.ensure(model.recipe, model.variant, root.models, data)
        for name, model in experiment.models.items()
    }
    bundle_folder, bundle = evaluation_bundle(next(iter(recipes)), root.bundles, data)
    planned = Plan(experiment, root.experiment(experiment.name), nodes, bundle_folder, bundle, provenance.code(), [])
    for position, spec in enumerate(experiment.cells):
        folder = artefacts[spec.model]
        card = load_card(folder)
        _check_codec(spec, card, folder)
        rule = resolve(spec, experiment.models[spec.model], root.models, data, card)
        config = _config(planned, spec, rule, position)
        cell = _hash(planned, config, card)
        text = label(spec, card.compression or 32.0)
        planned.cells.append(PlannedCell(spec, rule, text, cell, planned.folder.cell(cell), folder, card, config))
    return planned


def _nodes(edge: Path, cloud: Path) -> list[Participant]:
    playing: list[tuple[Role, Profile]] = [("edge", _profile(edge)), ("cloud", _profile(cloud))]
    names = [profile.name for _, profile in playing]
    if names[0] == names[1]:
        raise ExperimentError(f"edge and cloud are both named {names[0]!r}; their rows could not be told apart")
    return participants(playing)


def _profile(path: Path) -> Profile:
    try:
        return load_profile(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error


def _config(planned: Plan, spec: CellSpec, rule: ExitRule | None, position: int) -> CellDocument:
    experiment = planned.experiment
    return CellDocument(
        mode=spec.mode,
        model=spec.model,
        codec=spec.codec,
        exit=None if rule is None else rule.document,
        scenario=msgspec.convert(experiment.scenario.model_dump(mode="json"), ScenarioDocument),
        idle_s=experiment.idle_s,
        seed=experiment.seed,
        curve=experiment.curve,
        samples=planned.samples,
        position=position,
        baseline=facts_of(spec.mode).roles == ("edge",) and spec.exit is None,
    )


def _hash(planned: Plan, config: CellDocument, card: ModelCard) -> str:
    decisive = msgspec.to_builtins(config)
    del decisive["position"], decisive["baseline"]
    document = {
        "config": decisive,
        "artefact": card.hash,
        "bundle": planned.bundle.card.hash,
        "code": planned.code.sha256,
        "nodes": {node.id: [node.role, msgspec.to_builtins(node.profile)] for node in planned.nodes},
    }
    return document_digest(document)[:CELL_DIGITS]


def _check_codec(spec: CellSpec, card: ModelCard, folder: Path) -> None:
    if spec.codec is None:
        return
    try:
        CodecBook(card.code_shape, card.code_rates).encoder(spec.codec)
    except CodecError as error:
        raise ModelError(f"{folder}: {error}; choose another codec or model, or export this one again") from error
