"""`schedule: auto` in numbers: where the validation samples exit, and how many timesteps a chunk may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.exitrule import ExitRule
from testbed.record.exits import accumulate, confidence, exit_timestep
from testbed.record.schedules import AutoSchedule
from testbed.runtime.artefact import ModelCard
from testbed.snn import validation

FEW = 4
"""Up to so many timesteps a chunk may have any size. A graph is made for each, with all weights in it."""


def is_known(spec: CellSpec, model: ModelRef, models: Path, data: Path | None, card: ModelCard) -> bool:
    """Whether `resolve` has nothing to compute."""
    if spec.schedule is None or spec.exit is None:
        return True
    return (_folder(model, models, data, card) / validation.DOCUMENT).exists()


def resolve(
    spec: CellSpec, rule: ExitRule | None, model: ModelRef, models: Path, data: Path | None, card: ModelCard
) -> AutoSchedule | None:
    """What a schedule is chosen by; None where the cell says its own. Its model's artefact must be there.

    Raises:
        TestbedError: the validation samples or the weights are missing.
    """
    if spec.schedule is None:
        return None
    timesteps = card.timesteps
    any_size = range(1, timesteps + 1)
    sizes = sorted(any_size if timesteps <= FEW else {1, 2, timesteps // 2, timesteps - 1, timesteps})
    if rule is None:
        return AutoSchedule(exits=[0.0] * (timesteps - 1) + [1.0], sizes=sizes)
    folder = _folder(model, models, data, card)
    validation.ensure(folder, model.recipe, model.cut, models, data, card)
    config = rule.config
    logits = validation.array(folder / "split.npy")
    at = exit_timestep(confidence(accumulate(logits, config.accumulate), config.policy), config.thresholds)
    counted = np.bincount(at - 1, minlength=timesteps)
    return AutoSchedule(exits=[float(share) for share in counted / counted.sum()], sizes=sizes)


def _folder(model: ModelRef, models: Path, data: Path | None, card: ModelCard) -> Path:
    return validation.folder_of(model.recipe, model.cut, models, data, card)
