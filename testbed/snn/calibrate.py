"""Calibration of a variant's exit: thresholds from its logits on the validation samples, and how sure they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.base.plugins import found as added_parts
from testbed.errors import ModelError
from testbed.record import exits
from testbed.record.exits import Accumulate, Floats, Policy
from testbed.record.log import write_json
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.digest import document_digest, file_digest
from testbed.snn import thresholds, validation
from testbed.snn.architecture import Weights
from testbed.snn.artefact import artefact_folder
from testbed.snn.keptanswers import KEY_DIGITS, Report, unheard
from testbed.snn.recipe import load_recipe
from testbed.snn.thresholds import Drop, paired_drop, per_timestep_thresholds, single_threshold
from testbed.snn.validation import Validation

Which: TypeAlias = Literal["split", "full"]

INTERVAL = "95%, adjusted Wald for paired proportions (Bonett and Price 2012)"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for. `network` is `split` for co-inference, `full` for the uncompressed backbone on the edge."""

    network: Which
    drop: float
    policy: Policy
    accumulate: Accumulate
    per_timestep: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network does on the validation samples under some thresholds, or over all T timesteps.

    `accuracy` is a fraction; `exits` counts the samples that stop at timesteps 1..T; `drop` is against all T
    timesteps of the same network, `drop_backbone` against all T of the uncompressed backbone.
    """

    accuracy: float
    mean_exit_timestep: float
    exits: list[int]
    drop: Drop
    drop_backbone: Drop


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of timesteps 1..T-1 and where they come from; `found` is with them, `whole` without an exit.

    The interval of a drop does not cover that the thresholds were chosen on these very samples.
    """

    settings: Settings
    thresholds: list[float]
    found: Outcome
    whole: Outcome
    validation: Validation
    interval: str

    @property
    def rule(self) -> dict[str, Any]:
        """The `exit:` block of an experiment that says the same in numbers."""
        numbers: dict[str, Any] = {"threshold": self.thresholds[0]}
        if self.settings.per_timestep:
            numbers = {"thresholds": self.thresholds}
        return {"policy": self.settings.policy, "accumulate": self.settings.accumulate, **numbers}


def calibrate(
    recipe: Path,
    variant: str,
    models: Path,
    data: Path | None,
    settings: Settings,
    weights: Weights = "float",
    report: Report = unheard,
) -> Calibration:
    """The thresholds with the earliest mean exit that lose at most `settings.drop` points on the validation samples.

    The variant's artefact must be there (`artefact.ensure`). Test samples take no part. What was found is
    kept beside the logits. `report` is told how far the networks are.

    Raises:
        ModelError: there is nothing to exit from, or no thresholds lose as little as asked.
        TestbedError: the weights or the data are missing.
    """
    card = load_card(artefact_folder(models, load_recipe(recipe), variant, weights))
    if card.timesteps == 1:
        raise ModelError(f"{card.name}: the model has T=1 timestep, so there is no exit to calibrate")
    kept = kept_in(recipe, variant, models, data, settings, card)
    if kept.exists():
        return validation.document(kept, Calibration)
    folder = kept.parent
    validation.ensure(folder, recipe, variant, models, data, card, report)
    try:
        found = search(folder, settings)
    except ModelError as error:
        raise ModelError(f"{card.name}: {error}") from error
    write_json(kept, found)
    return found


def kept_in(recipe: Path, variant: str, models: Path, data: Path | None, settings: Settings, card: ModelCard) -> Path:
    """The file that a calibration is kept in; where it is there, `calibrate` reads it and computes nothing."""
    folder = validation.folder_of(recipe, variant, models, data, card)
    # The search and the exit rule are part of the key: a changed rule never meets an old result.
    code = [file_digest(Path(module.__file__ or "")) for module in (exits, thresholds)]
    added = added_parts(exits.GROUP).get(settings.policy)
    code += [] if added is None else [added.digest]
    return folder / f"exit-{document_digest([msgspec.to_builtins(settings), code])[:KEY_DIGITS]}.json"


def search(folder: Path, settings: Settings) -> Calibration:
    """Calibrate on the logits kept in a folder.

    Raises:
        ModelError: no thresholds lose as little as asked, or what is kept is damaged.
    """
    labels = validation.array(folder / "labels.npy")
    logits = validation.array(folder / f"{settings.network}.npy")
    backbone = _right(validation.array(folder / "full.npy"), labels)[-1]
    right = _right(logits, labels)
    sure = exits.confidence(exits.accumulate(logits, settings.accumulate), settings.policy)
    # The tolerance is for drops such as 0.3 points of 1000 samples, which are 2.9999… in floating point.
    losses = int(settings.drop / 100 * len(labels) + 1e-9)
    if settings.per_timestep:
        alphas = per_timestep_thresholds(sure, right, losses)
    else:
        alphas = single_threshold(sure, right, losses)
    if alphas is None:
        raise ModelError(
            f"no exit at a drop of {settings.drop:g} points: even a threshold of 1 loses more of the {len(labels)} "
            f"validation samples, since some are wrong at a confidence of 1 ({settings.policy} of the "
            f"{settings.accumulate}); allow a larger drop, or take the mean"
        )

    def outcome(at: NDArray[np.int64]) -> Outcome:
        answers = right[at - 1, np.arange(len(labels))]
        return Outcome(
            accuracy=float(answers.mean()),
            mean_exit_timestep=float(at.mean()),
            exits=np.bincount(at, minlength=len(logits) + 1)[1:].tolist(),
            drop=paired_drop(right[-1], answers),
            drop_backbone=paired_drop(backbone, answers),
        )

    return Calibration(
        settings=settings,
        thresholds=alphas,
        found=outcome(exits.exit_timestep(sure, alphas)),
        whole=outcome(np.full(len(labels), len(logits), dtype=np.int64)),
        validation=validation.document(folder / validation.DOCUMENT, Validation),
        interval=INTERVAL,
    )


def calibration_rows(found: Calibration) -> tuple[list[str], list[list[str]]]:
    """A calibration as a table for people: its headers and its rows."""
    steps = range(1, len(found.thresholds) + 2)
    headers = ["", "α", "accuracy [%]", "drop [points]", "drop vs backbone [points]", "mean exit"]
    headers += [f"exit at {step} [%]" for step in steps]
    alphas = found.thresholds if found.settings.per_timestep else found.thresholds[:1]
    rows = []
    for name, alpha, outcome, drop in (
        (f"all T={len(steps)}", "", found.whole, ""),
        ("with exit", "/".join(map(str, alphas)), found.found, _with_interval(found.found.drop)),
    ):
        shares = [f"{100 * count / found.validation.samples:.1f}" for count in outcome.exits]
        same = outcome is found.whole and found.settings.network == "full"
        backbone = "" if same else _with_interval(outcome.drop_backbone)
        mean = f"{outcome.mean_exit_timestep:.3f}"
        rows.append([name, alpha, f"{100 * outcome.accuracy:.2f}", drop, backbone, mean, *shares])
    return headers, rows


def _with_interval(drop: Drop) -> str:
    return f"{drop.points:.2f} ({drop.low:.2f} to {drop.high:.2f})"


def exit_block(found: Calibration) -> str:
    """The line of YAML for an experiment's cell that says these thresholds."""
    numbers = ", ".join(f"{key}: {value}" for key, value in found.rule.items())
    return f"exit: {{{numbers}}}"


def _right(logits: Floats, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the answer at each timestep is right [T, N]; a mean and a sum have the same argmax."""
    return np.asarray(exits.accumulate(logits).argmax(axis=-1) == labels)
