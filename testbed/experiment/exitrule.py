"""An experiment's `exit:` block in numbers: as it says them, or calibrated when the experiment is planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from testbed.errors import ExperimentError
from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.exits import Calibrate
from testbed.experiment.labels import label
from testbed.link.messages import ExitConfig
from testbed.modes import facts_of
from testbed.record.documents import ExitDocument
from testbed.runtime.artefact import ModelCard
from testbed.snn.calibrate import Settings, calibrate, kept_in


@dataclass(frozen=True)
class ExitRule:
    """What the edge is told, and what the manifest says of it."""

    config: ExitConfig
    document: ExitDocument


def is_known(spec: CellSpec, model: ModelRef, models: Path, data: Path | None, card: ModelCard) -> bool:
    """Whether `resolve` has nothing to compute: the thresholds are said, or a calibration that found them is kept."""
    if spec.exit is None or spec.exit.calibrate is None:
        return True
    settings = _settings(spec, spec.exit.calibrate)
    return kept_in(model.recipe, model.cut, models, data, settings, card).exists()


def _settings(spec: CellSpec, aim: Calibrate) -> Settings:
    return Settings(network=facts_of(spec.mode).network, **aim.model_dump())


def resolve(spec: CellSpec, model: ModelRef, models: Path, data: Path | None, card: ModelCard) -> ExitRule | None:
    """The exit of a cell; None if it has none. Its model's artefact must be there.

    Raises:
        ExperimentError: its thresholds are not those of a model with so many timesteps.
        TestbedError: it cannot be calibrated.
    """
    if spec.exit is None:
        return None
    aim = spec.exit.calibrate
    if aim is None:
        try:
            thresholds = spec.exit.at(card.timesteps)
        except ExperimentError as error:
            raise ExperimentError(f"{label(spec, card.compression or 32.0)}: {error}") from error
        document = msgspec.convert(spec.exit.model_dump(mode="json", exclude={"calibrate", "replay"}), ExitDocument)
    else:
        found = calibrate(model.recipe, model.cut, models, data, _settings(spec, aim), model.weights)
        thresholds = found.thresholds
        document = ExitDocument(**found.rule, calibrated=msgspec.to_builtins(found))
    config = ExitConfig(policy=document.policy, accumulate=document.accumulate, thresholds=thresholds)
    return ExitRule(config, document)
