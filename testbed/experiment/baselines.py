"""What the cells of a campaign are compared with: the edge alone, without exit, of each model and scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.scenario import Arriving, arriving
from testbed.experiment.spec import Experiment
from testbed.snn.architecture import Weights
from testbed.snn.recipe import Recipe

Kin: TypeAlias = tuple[Path, Weights, Arriving]
"""What cells share that are compared: their recipe, the form of its weights, and how their requests arrive."""

MODE = "edge_only"

Compared: TypeAlias = Mapping[str, str]
"""By the name of each model, that of the model whose edge alone its cells are compared with."""


def compared(models: Mapping[str, ModelRef], recipes: Mapping[Path, Recipe]) -> Compared:
    """A spiking network is compared with itself, and an ANN with the spiking network of the same backbone.

    Of several it is the first one with the ANN's form of weights, or else the first one. Where there is none, an ANN is
    compared with itself.
    """

    def spiking(name: str) -> list[str]:
        backbone = recipes[models[name].recipe].backbone.name
        alike = [other for other, model in models.items() if recipes[model.recipe].backbone.name == backbone]
        return [other for other in alike if recipes[models[other].recipe].spiking]

    def of(name: str) -> str:
        if recipes[models[name].recipe].spiking:
            return name
        found = sorted(spiking(name), key=lambda other: models[other].weights != models[name].weights)
        return next(iter(found), name)

    return {name: of(name) for name in models}


def is_baseline(cell: CellSpec, by: Compared) -> bool:
    """Whether other cells are compared with this one."""
    return cell.baseline and by[cell.model] == cell.model


def missing(experiment: Experiment, by: Compared) -> list[CellSpec]:
    """The baselines that an experiment's cells need and do not have, one for each model and scenario without one."""
    if not experiment.baselines:
        return []

    def kin_of(cell: CellSpec) -> Kin:
        model = experiment.models[by[cell.model]]
        return model.recipe, model.weights, arriving(cell.scenario, experiment.scenario)

    there = {kin_of(cell) for cell in experiment.cells if is_baseline(cell, by)}
    needed = {kin_of(cell): by[cell.model] for cell in reversed(experiment.cells)}
    ordered = dict.fromkeys(kin_of(cell) for cell in experiment.cells)
    return [
        CellSpec.model_validate({"mode": MODE, "model": needed[kin], "scenario": kin[2]})
        for kin in ordered
        if kin not in there
    ]
