"""An experiment with everything it names: its cells, each under a hash of all that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import msgspec

from devices.links.conditions import Link
from devices.links.describe import describe
from testbed.campaign import order, provenance
from testbed.campaign.asked import Asked, read
from testbed.campaign.bundles import evaluation_bundle
from testbed.campaign.collect import Repeat, look
from testbed.errors import ModelError
from testbed.experiment import CellSpec, Experiment, autoschedule
from testbed.experiment.baselines import is_baseline
from testbed.experiment.exitrule import ExitRule, resolve
from testbed.experiment.replays import Replay
from testbed.experiment.scenario import arriving
from testbed.link.codec import CodecBook, CodecError
from testbed.modes import facts_of
from testbed.orchestrator import Participant, taking_part
from testbed.record.documents import (
    CellDocument,
    CellLink,
    CodeRef,
    CooldownDocument,
    DatasetRef,
    Invocation,
    LinkRef,
    Manifest,
    ScenarioDocument,
)
from testbed.record.faults import FaultDocument
from testbed.record.layout import CellFolder, ExperimentFolder
from testbed.record.noderecord import NodeRecord
from testbed.record.schedules import AutoSchedule
from testbed.record.schema import SCHEMA_VERSION
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.bundle import Bundle
from testbed.runtime.digest import document_digest
from testbed.snn import artefact
from testbed.snn.chunked import chunked

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
    link: Link | None = None
    added: bool = False
    """Whether it is a baseline that the experiment does not have and needs."""

    def deployed(self) -> tuple[Path, str]:
        """The artefact that its nodes load, and its hash: its model's, with graphs for the chunks that it has.

        Raises:
            ModelError: such a graph cannot be made.
        """
        auto = self.config.schedule
        sizes = {size for size in (self.spec.chunks or () if auto is None else auto.sizes) if size > 1}
        if not sizes:
            return self.artefact, self.card.hash
        facts = facts_of(self.spec.mode)
        folder = chunked(self.artefact, {part for part in (facts.edge_part, facts.cloud_part) if part}, sizes)
        return folder, load_card(folder).hash


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
    replays: list[Replay] = field(default_factory=list)
    """Exits that are replayed when all is measured, with places in `cells`."""

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
        experiment = self.experiment
        passes = order.passes(self.cells, experiment.repeats, experiment.seed, experiment.order)
        return [(repeat, cell) for repeat, cell in passes if (repeat, cell.cell) not in done]

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
            title=self.experiment.title or "",
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
            link=LinkRef(requested=None if cell.link is None else describe(cell.link), curve=self.experiment.curve),
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
    """Read an experiment and everything it names; what has to be exported, made or calibrated is.

    Raises:
        TestbedError: a file says something wrong, or a model or data set is not there.
    """
    asked = read(path, results, overrides=overrides, edge=edge, cloud=cloud)
    artefacts = {
        name: artefact.ensure(model.recipe, model.variant, asked.root.models, data, model.weights)
        for name, model in asked.experiment.models.items()
    }
    bundle_folder, bundle = evaluation_bundle(asked.data_recipe, asked.root.bundles, data)
    planned = Plan(
        asked.experiment, asked.folder, asked.nodes, bundle_folder, bundle, provenance.code(), [], asked.replays
    )
    cards = {name: load_card(folder) for name, folder in artefacts.items()}
    for position, spec in enumerate(asked.specs):
        cell = plan_cell(asked, planned, position, artefacts[spec.model], cards[spec.model], data)
        cell.deployed()
        planned.cells.append(cell)
    return planned


def plan_cell(
    asked: Asked, planned: Plan, position: int, folder: Path, card: ModelCard, data: Path | None
) -> PlannedCell:
    """One cell of a plan; its model's artefact lies in `folder`. An exit that is not calibrated yet is.

    Raises:
        TestbedError: its codec or its exit is not one of its model's, or cannot be calibrated.
    """
    spec, link = asked.specs[position], asked.links[position]
    _check_codec(spec, card, folder)
    model, models = asked.experiment.models[spec.model], asked.root.models
    rule = resolve(spec, model, models, data, card)
    schedule = autoschedule.resolve(spec, rule, model, models, data, card)
    config = _config(asked, planned, rule, schedule, position)
    cell = _hash(planned, config, card)
    where, added = asked.folder.cell(cell), position < asked.added
    return PlannedCell(spec, rule, asked.labels[position], cell, where, folder, card, config, link, added)


def _config(
    asked: Asked, planned: Plan, rule: ExitRule | None, schedule: AutoSchedule | None, position: int
) -> CellDocument:
    experiment, spec, link = planned.experiment, asked.specs[position], asked.links[position]
    return CellDocument(
        mode=spec.mode,
        model=spec.model,
        codec=spec.codec,
        window=spec.window,
        chunks=None if spec.chunks is None else list(spec.chunks),
        schedule=schedule,
        fallback=spec.fallback,
        capture=experiment.capture and "cloud" in facts_of(spec.mode).roles,
        exit=None if rule is None else rule.document,
        scenario=_scenario(experiment, spec),
        idle_s=experiment.idle_s,
        cooldown=None
        if experiment.cooldown is None
        else CooldownDocument(within_c=experiment.cooldown.within_c, at_most_s=experiment.cooldown.at_most_s),
        seed=experiment.seed,
        curve=experiment.curve,
        samples=planned.samples,
        link=None if link is None else CellLink(name=link.name, sha256=link.sha256, shaping=experiment.shaping),
        faults=[msgspec.convert(fault.model_dump(mode="json"), FaultDocument) for fault in spec.faults],
        position=position,
        baseline=is_baseline(spec, asked.compared),
        again=spec.again,
    )


def _scenario(experiment: Experiment, spec: CellSpec) -> ScenarioDocument:
    shared = msgspec.convert(experiment.scenario.model_dump(mode="json"), ScenarioDocument)
    own = arriving(spec.scenario, experiment.scenario)
    kind = own.kind or shared.kind
    return msgspec.structs.replace(shared, kind=kind, target_qps=own.target_qps, deadline_ms=own.deadline_ms)


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
