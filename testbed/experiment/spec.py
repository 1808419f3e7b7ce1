"""The blocks of an experiments/*.yaml but for its exits (see exits.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from testbed.config import MOST_SEED, Name, PlacedError, Strict
from testbed.experiment.exits import Exit
from testbed.experiment.sweeps import MOST_CELLS
from testbed.link.codec import codec_names
from testbed.modes import facts_of, mode_names
from testbed.record.layout import RESERVED


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"results/{name} is not for an experiment; choose another name")
    return name


def _mode(name: str) -> str:
    if name not in mode_names():
        raise ValueError(f"expected {_any_of(mode_names())}")
    return name


def _codec(name: str) -> str:
    if name not in codec_names():
        raise ValueError(f"expected {_any_of(codec_names())}")
    return name


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


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
        le=1_000_000,
        description="per repeat, and again in whole passes where a power source needs longer; default: every held-out "
        "sample once",
    )
    warmup: int = pydantic.Field(default=20, ge=1, le=10_000)
    timeout_ms: int = pydantic.Field(default=5000, ge=1, le=3_600_000, description="for a whole request")


class CellSpec(Strict):
    """One way to answer requests."""

    mode: Annotated[str, pydantic.AfterValidator(_mode)]
    model: str
    codec: Annotated[str, pydantic.AfterValidator(_codec)] | None = None
    exit: Exit | None = None

    @pydantic.model_validator(mode="after")
    def _fits_its_mode(self) -> CellSpec:
        facts = facts_of(self.mode)
        if facts.needs_codec and self.codec is None:
            raise ValueError(f"a {self.mode} cell needs a codec: {_any_of(codec_names())}")
        if not facts.needs_codec and self.codec is not None:
            coded = [name for name in mode_names() if facts_of(name).needs_codec]
            raise ValueError(f"a codec belongs to {_any_of(coded)}, not to {self.mode}")
        if not facts.exits and self.exit is not None:
            raise ValueError(f"{self.mode} sends its {facts.sends} once, so there is nothing to exit from")
        return self


class Deadlines(Strict):
    """After how long a silent worker fails its cell."""

    start_s: float = pydantic.Field(default=60.0, gt=0, le=3600, description="from starting a worker to its first word")
    load_s: float = pydantic.Field(default=120.0, gt=0, le=3600, description="to check and load the artefact")
    silence_s: float = pydantic.Field(default=10.0, gt=0.6, le=3600, description="between two signs of life")


class Experiment(Strict):
    """A whole experiment file."""

    name: Annotated[Name, pydantic.AfterValidator(_free)]
    title: str | None = pydantic.Field(None, max_length=200)
    models: dict[Name, ModelRef] = pydantic.Field(min_length=1)
    nodes: Nodes
    scenario: Scenario = Scenario()
    repeats: int = pydantic.Field(5, ge=1, le=1000)
    seed: int = pydantic.Field(0, ge=0, le=MOST_SEED)
    idle_s: float = pydantic.Field(2.0, gt=0, le=3600, description="idle baseline before and after every repeat")
    curve: bool = pydantic.Field(True, description="CURVE on the data plane; the control plane always has it")
    deadlines: Deadlines = Deadlines()
    cells: tuple[CellSpec, ...] = pydantic.Field(min_length=1, max_length=MOST_CELLS)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Experiment:
        for position, cell in enumerate(self.cells):
            if cell.model not in self.models:
                message = f"cell {cell.mode} names model {cell.model!r}; models has {', '.join(self.models)}"
                raise PlacedError(message, "cells", position, "model")
            if cell in self.cells[:position]:
                raise PlacedError("two cells are the same", "cells", position)
        return self
