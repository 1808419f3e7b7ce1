"""The blocks of an experiments/*.yaml but for its exits (see exits.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from testbed.config import PlacedError, Strict
from testbed.experiment.exits import Exit

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


class CellSpec(Strict):
    """One way to answer requests."""

    mode: Literal["edge_only", "cloud_only", "co_inference"]
    model: str
    codec: Literal["float32", "packed", "sparse", "entropy", "auto"] | None = None
    exit: Exit | None = None

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

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Experiment:
        for position, cell in enumerate(self.cells):
            if cell.model not in self.models:
                message = f"cell {cell.mode} names model {cell.model!r}; models has {', '.join(self.models)}"
                raise PlacedError(message, "cells", position, "model")
            if cell in self.cells[:position]:
                raise PlacedError("two cells are the same", "cells", position)
        return self
