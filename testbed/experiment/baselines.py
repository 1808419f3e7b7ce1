"""What the cells of a campaign are compared with: the edge alone, without exit, of each model and scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from testbed.experiment.cell import CellSpec
from testbed.experiment.scenario import Arriving, arriving
from testbed.experiment.spec import Experiment
from testbed.snn.architecture import Weights

Kin: TypeAlias = tuple[Path, Weights, Arriving]
"""What cells share that are compared: their recipe, the form of its weights, and how their requests arrive."""

MODE = "edge_only"


def missing(experiment: Experiment) -> list[CellSpec]:
    """The baselines that an experiment's cells need and do not have, one for each model and scenario without one."""
    if not experiment.baselines:
        return []

    def kin_of(cell: CellSpec) -> Kin:
        model = experiment.models[cell.model]
        return model.recipe, model.weights, arriving(cell.scenario, experiment.scenario)

    there = {kin_of(cell) for cell in experiment.cells if cell.baseline}
    needed = {kin_of(cell): cell.model for cell in reversed(experiment.cells)}
    ordered = dict.fromkeys(kin_of(cell) for cell in experiment.cells)
    return [
        CellSpec.model_validate({"mode": MODE, "model": needed[kin], "scenario": kin[2]})
        for kin in ordered
        if kin not in there
    ]
