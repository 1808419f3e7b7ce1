"""What a run would do, and for how long: nothing is trained, exported, calibrated or made to say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.campaign import durations, provenance
from testbed.campaign.aside import others
from testbed.campaign.asked import Asked, read
from testbed.campaign.bundles import bundle_folder
from testbed.campaign.durations import BUNDLE_S, CALIBRATE_S, EXPORT_S, Duration
from testbed.campaign.plan import Plan, plan_cell
from testbed.data.datasets import NEEDS_NO_FILES
from testbed.errors import DataError
from testbed.experiment import autoschedule
from testbed.experiment.exitrule import is_known
from testbed.experiment.scenario import arriving
from testbed.record.layout import ExperimentFolder
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.bundle import glance
from testbed.snn import artefact


@dataclass(frozen=True)
class Missing:
    """Something that a run needs and that is not there: who makes it, and about how long that takes (None: unsaid)."""

    what: str
    by: str
    seconds: float | None


@dataclass(frozen=True)
class ForeseenCell:
    """One cell of a run to come. `cell` is None where it is not known before something else is there: `before`."""

    label: str
    mode: str
    model: str
    cell: str | None
    before: str
    done: int
    repeat: Duration


@dataclass
class Outlook:
    """A campaign that is not begun."""

    folder: ExperimentFolder
    repeats: int
    cells: list[ForeseenCell] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    others: int | None = 0
    """Cells in the folder that are none of these; None where not every cell is known."""
    added: int = 0
    """So many of the first cells are baselines that the experiment does not have and needs."""
    replayed: int = 0
    """Exits that are not measured but replayed."""
    emulated: tuple[str, ...] = ()
    """Nodes that compute ahead. How long that takes depends on what is kept there, and `seconds` does not know it."""

    @property
    def of(self) -> int:
        """All repeats."""
        return self.repeats * len(self.cells)

    @property
    def sure(self) -> bool:
        """Whether it is known how much is measured: every cell is known, or the folder is empty."""
        return self.others is not None or not self.folder.cells()

    @property
    def to_do(self) -> int:
        """Repeats that are not measured, as far as that is known."""
        return self.of - sum(cell.done for cell in self.cells)

    @property
    def seconds(self) -> float:
        """About how long the run takes; what `missing` gives no time for is not in it."""
        making = sum(lack.seconds or 0.0 for lack in self.missing)
        return making + sum((self.repeats - cell.done) * cell.repeat.seconds for cell in self.cells)

    def bases(self) -> dict[str, int]:
        """How many of the repeats to come are estimated from what."""
        counts: dict[str, int] = {}
        for cell in self.cells:
            if left := self.repeats - cell.done:
                counts[cell.repeat.basis] = counts.get(cell.repeat.basis, 0) + left
        return counts

    def document(self, command: str) -> dict[str, Any]:
        """What `--json` prints (docs/json.md)."""
        return {
            "folder": str(self.folder.path),
            "command": command,
            "cells": [
                {
                    "cell": cell.cell,
                    "label": cell.label,
                    "mode": cell.mode,
                    "model": cell.model,
                    "unknown_before": cell.before or None,
                    "added": position < self.added,
                    "repeats_measured": cell.done,
                    "repeat_s": cell.repeat.seconds,
                    "repeat_s_from": cell.repeat.basis,
                }
                for position, cell in enumerate(self.cells)
            ],
            "missing": [{"what": lack.what, "by": lack.by, "seconds": lack.seconds} for lack in self.missing],
            "exits_replayed": self.replayed,
            "repeats": self.of,
            "repeats_to_measure": self.to_do,
            "repeats_to_measure_is_sure": self.sure,
            "other_cells": self.others,
            "seconds_left": self.seconds,
            "seconds_left_from": self.bases(),
        }


def look_ahead(
    path: Path,
    results: Path,
    *,
    overrides: tuple[str, ...] = (),
    edge: Path | None = None,
    cloud: Path | None = None,
    data: Path | None = None,
) -> Outlook:
    """Read an experiment and see what of it is there.

    A cell's id is a hash of all that decides its numbers, the exported networks and the found thresholds among it. So
    it is not known before these are there.

    Raises:
        TestbedError: a file says something wrong.
    """
    asked = read(path, results, overrides=overrides, edge=edge, cloud=cloud)
    outlook = Outlook(asked.folder, asked.experiment.repeats, added=asked.added)
    outlook.replayed = sum(len(one.thresholds) for one in asked.replays)
    outlook.emulated = tuple(node.id for node in asked.nodes if node.profile.emulates is not None)
    planned, models = _planned(asked, data, outlook.missing), _models(asked, outlook.missing)
    took = durations.Measured(asked.folder)
    count = durations.requests(asked.experiment, None if planned is None else planned.samples)
    for position, (spec, link, text) in enumerate(zip(asked.specs, asked.links, asked.labels, strict=True)):
        named, model = asked.experiment.models[spec.model], models[spec.model]
        before = model.before or ("" if planned is not None else "the bundle is made")
        calibrated = model.card is not None and is_known(spec, named, asked.root.models, data, model.card)
        if spec.exit is not None and spec.exit.calibrate is not None and not calibrated:
            before = before or "its α is calibrated"
            outlook.missing.append(Missing(f"α of {text}", "testbed run", CALIBRATE_S))
        elif model.card is not None and not autoschedule.is_known(spec, named, asked.root.models, data, model.card):
            before = before or "validation samples are run for its schedule"
            outlook.missing.append(Missing(f"exits of {text} on validation samples", "testbed run", CALIBRATE_S))
        cell, done = None, 0
        if not before and planned is not None and model.card is not None:
            known = plan_cell(asked, planned, position, model.folder, model.card, data)
            cell, done = known.cell, sum(repeat.record is not None for repeat in planned.repeats(known))
        arrives = arriving(spec.scenario, asked.experiment.scenario)
        repeat = took.duration(cell, spec, link, arrives, count)
        if repeat is None:
            repeat = durations.guess(asked.experiment, spec, asked.recipes[named.recipe], link, count)
        outlook.cells.append(ForeseenCell(text, spec.mode, spec.model, cell, before, done, repeat))
    known_ids = [cell.cell for cell in outlook.cells if cell.cell is not None]
    outlook.others = len(others(asked.folder, known_ids)) if len(known_ids) == len(outlook.cells) else None
    return outlook


def _planned(asked: Asked, data: Path | None, missing: list[Missing]) -> Plan | None:
    """A plan without cells yet; None where its bundle is not there."""
    try:
        folder = bundle_folder(asked.data_recipe, asked.root.bundles, data)
    except DataError as error:
        missing.append(Missing(f"the data set: {error}", "you, with --data PATH", None))
        return None
    if folder.exists():
        return Plan(asked.experiment, asked.folder, asked.nodes, folder, glance(folder), provenance.code(), [])
    dataset = asked.recipes[asked.data_recipe].dataset
    if dataset.name not in NEEDS_NO_FILES and (data or dataset.path) is None:
        missing.append(Missing(f"the data set {dataset.name}", "you, with --data PATH", None))
    missing.append(Missing(f"the bundle of test samples of {dataset.name}", "testbed run", BUNDLE_S))
    return None


@dataclass(frozen=True)
class _Model:
    """A model as it stands; `card` is None, and `before` says what is to come first, where it is not exported."""

    folder: Path
    card: ModelCard | None
    before: str


def _models(asked: Asked, missing: list[Missing]) -> dict[str, _Model]:
    """Every model by its name; a variant is exported by itself."""
    models: dict[str, _Model] = {}
    lacking: dict[Path, list[artefact.Standing]] = {}
    for name, model in asked.experiment.models.items():
        folder, standing = artefact.standing(model.recipe, model.variant, asked.root.models, model.weights)
        if standing == "ready":
            models[name] = _Model(folder, load_card(folder), "")
        else:
            models[name] = _Model(folder, None, f"its model is {'trained' if standing == 'to train' else 'exported'}")
            lacking.setdefault(model.recipe, []).append(standing)
    for recipe, standings in lacking.items():
        if "to train" in standings:
            missing.append(Missing(f"the weights of {recipe}", f"testbed train {recipe}", None))
        missing.append(Missing(f"the step graphs of {recipe}", "testbed run", EXPORT_S * len(standings)))
    return models
