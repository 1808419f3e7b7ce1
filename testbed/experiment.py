"""What an experiments/*.yaml may say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from testbed.config import Strict, load_config
from testbed.errors import ExperimentError
from testbed.record.exits import Accumulate, Policy, threshold_count

Name = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class ModelRef(Strict):
    """A variant of a training recipe; the path is relative to the experiment file."""

    recipe: Path
    variant: Name


class Nodes(Strict):
    """The profiles bound to the roles; --edge and --cloud bind others."""

    edge: Path
    cloud: Path


class Scenario(Strict):
    """How requests arrive. `single_stream` (MLPerf): the next one starts when the last one has ended."""

    kind: Literal["single_stream"] = "single_stream"
    requests: int | None = pydantic.Field(
        default=None,
        ge=1,
        description="per repeat, and again in whole passes where a power source needs longer; default: every held-out "
        "sample once",
    )
    warmup: int = pydantic.Field(default=20, ge=1)
    timeout_ms: int = pydantic.Field(default=5000, ge=1)


Confidence = Annotated[float, pydantic.Field(ge=0, le=1)]


class Calibrate(Strict):
    """Thresholds from the validation samples: the earliest mean exit with at most `drop` points of accuracy lost."""

    drop: float = pydantic.Field(ge=0, le=100, description="points, against all T timesteps of the same network")
    policy: Policy = "max_softmax"
    accumulate: Accumulate = "mean"
    per_timestep: bool = False


class Exit(Strict):
    """When to stop: the confidence of the accumulated logits reaches a threshold (the paper's α).

    `threshold` is one for every timestep, `thresholds` one for each timestep but the last, which always exits;
    `calibrate` has either found on validation data when the experiment is planned.
    """

    policy: Policy = "max_softmax"
    accumulate: Accumulate = "mean"
    threshold: Confidence | None = None
    thresholds: Annotated[tuple[Confidence, ...], pydantic.Field(min_length=1)] | None = None
    calibrate: Calibrate | None = None

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Exit:
        if sum(source is not None for source in (self.threshold, self.thresholds, self.calibrate)) != 1:
            raise ValueError("an exit needs one of threshold, thresholds and calibrate")
        outside = self.model_fields_set & {"policy", "accumulate"}
        if self.calibrate is not None and outside:
            raise ValueError(f"{' and '.join(sorted(outside))}: write it inside calibrate")
        return self

    def at(self, timesteps: int) -> list[float]:
        """The thresholds of timesteps 1..T-1 of a model with so many timesteps.

        Raises:
            ExperimentError: `thresholds` has another number of them.
        """
        if self.thresholds is None:
            return [] if self.threshold is None else [self.threshold] * (timesteps - 1)
        if len(self.thresholds) != timesteps - 1:
            raise ExperimentError(threshold_count(len(self.thresholds), timesteps))
        return list(self.thresholds)


class CellSpec(Strict):
    """One way to answer requests."""

    mode: Literal["edge_only", "cloud_only", "co_inference"]
    model: str
    codec: Literal["float32", "packed", "sparse", "entropy", "auto"] | None = None
    exit: Exit | None = None
    window: Literal[1] = pydantic.Field(1, description="timesteps in flight; 1 is stop-and-wait as in the paper")

    @pydantic.model_validator(mode="after")
    def _fits_its_mode(self) -> CellSpec:
        if self.mode == "co_inference" and self.codec is None:
            raise ValueError("a co_inference cell needs a codec: float32, packed, sparse, entropy or auto")
        if self.mode != "co_inference" and self.codec is not None:
            raise ValueError(f"a codec belongs to co_inference, not to {self.mode}")
        if self.mode == "cloud_only" and self.exit is not None:
            raise ValueError("cloud_only sends its input once, so there is nothing to exit from")
        return self


class Deadlines(Strict):
    """After how long a silent worker fails its cell."""

    start_s: float = pydantic.Field(default=60.0, gt=0, description="from starting a worker to its first word")
    load_s: float = pydantic.Field(default=120.0, gt=0, description="to check and load the artefact")
    silence_s: float = pydantic.Field(default=10.0, gt=0.6, description="between two signs of life")


class Experiment(Strict):
    """A whole experiment file."""

    name: Name
    title: str | None = None
    models: dict[Name, ModelRef] = pydantic.Field(min_length=1)
    nodes: Nodes
    scenario: Scenario = Scenario()
    repeats: int = pydantic.Field(5, ge=1)
    seed: int = 0
    idle_s: float = pydantic.Field(2.0, gt=0, description="idle baseline before and after every repeat")
    curve: bool = pydantic.Field(True, description="CURVE on the data plane; the control plane always has it")
    deadlines: Deadlines = Deadlines()
    cells: tuple[CellSpec, ...] = pydantic.Field(min_length=1)

    @pydantic.field_validator("cells", mode="before")
    @classmethod
    def _expand(cls, cells: Any) -> Any:
        """A cell whose exit threshold, or drop to calibrate for, is a list stands for one cell per value."""
        if not isinstance(cells, list):
            return cells
        expanded: list[Any] = []
        for cell in cells:
            rule = cell.get("exit") if isinstance(cell, dict) else None
            aim = rule.get("calibrate") if isinstance(rule, dict) else None
            if isinstance(rule, dict) and isinstance(rule.get("threshold"), list):
                expanded += [{**cell, "exit": {**rule, "threshold": value}} for value in rule["threshold"]]
            elif isinstance(rule, dict) and isinstance(aim, dict) and isinstance(aim.get("drop"), list):
                sweep = [{**rule, "calibrate": {**aim, "drop": value}} for value in aim["drop"]]
                expanded += [{**cell, "exit": value} for value in sweep]
            else:
                expanded.append(cell)
        return expanded

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Experiment:
        for cell in self.cells:
            if cell.model not in self.models:
                raise ValueError(f"cell {cell.mode} names model {cell.model!r}; models has {', '.join(self.models)}")
        if len(set(self.cells)) != len(self.cells):
            raise ValueError("two cells are the same")
        return self


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment; the paths in it are resolved against the file's folder.

    Raises:
        ExperimentError: it says something an experiment may not say.
    """
    experiment = load_config(path, Experiment, overrides)

    def resolve(other: Path) -> Path:
        return Path(os.path.normpath(path.parent / other))

    return experiment.model_copy(
        update={
            "models": {
                name: model.model_copy(update={"recipe": resolve(model.recipe)})
                for name, model in experiment.models.items()
            },
            "nodes": Nodes(edge=resolve(experiment.nodes.edge), cloud=resolve(experiment.nodes.cloud)),
        }
    )


def label(cell: CellSpec, compression: float) -> str:
    """A cell's name for people, such as `co-inference 2048x packed, exit 0.9`.

    A calibrated exit is named after what was asked, `exit at drop 0.5`; the manifest has the thresholds found.
    """
    text = cell.mode.replace("_", "-")
    if cell.mode == "co_inference":
        text += f" {compression:g}x" if compression > 32 or cell.codec != "float32" else ""
        text += f" {cell.codec}"
    if cell.exit is not None:
        aim = cell.exit.calibrate
        rule = aim or cell.exit
        policy = "" if rule.policy == "max_softmax" else f"{rule.policy} "
        if aim is not None:
            when = f"at drop {aim.drop:g}" + (" per timestep" if aim.per_timestep else "")
        else:
            when = "/".join(f"{value:g}" for value in cell.exit.thresholds or (cell.exit.threshold,))
        text += f", exit {policy}{when}" + (" on sums" if rule.accumulate == "sum" else "")
    return text
