"""What a recipe says of a network of one's own: a function in a Python file, its arguments, its weights."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import pydantic

from devices.base.errors import TestbedError
from devices.base.sourcefile import source_sha256
from testbed.config import PlacedError
from testbed.data.size import Size
from testbed.importing import FileAndName, beside

Shape: TypeAlias = tuple[int, int, int]

OFFERED = ("classes", "channels", "image_size")
"""What the function is told of the data set, where it has a parameter of that name; all as the recipe says it."""


class OwnSpec(pydantic.BaseModel):
    """`backbone: {import: FILE.py:FUNCTION, …}`: every further key is an argument of the function."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    function: FileAndName = pydantic.Field(alias="import")
    neuron: ClassVar[Literal["lif"]] = "lif"
    width: ClassVar[None] = None

    @pydantic.model_validator(mode="after")
    def _no_number_that_is_none(self) -> OwnSpec:
        for key, value in self.arguments.items():
            if not _finite(value):
                raise PlacedError("expected a finite number", key)
        return self

    @property
    def name(self) -> str:
        """What the network is called in figures and tables."""
        return self.function.name

    @property
    def arguments(self) -> dict[str, Any]:
        """What the recipe gives to the function."""
        return dict(self.model_extra or {})

    def told(self, **offered: Size) -> dict[str, Any]:
        """Every argument of a call: of what is offered, what the function takes; and what the recipe gives.

        Raises:
            PlacedError: the recipe gives what the function does not take, or leaves out what it needs.
            ExperimentError: the function's file cannot be loaded.
        """
        parameters = inspect.signature(self.function.load()).parameters
        takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        for key in self.arguments:
            if key not in parameters and not takes_any:
                listed = ", ".join(parameters) or "nothing"
                raise PlacedError(f"{self.function} does not take it; it takes {listed}", "backbone", key)
        given = {key: value for key, value in offered.items() if key in parameters} | self.arguments
        for key, one in parameters.items():
            optional = one.default is not one.empty or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            if key not in given and not optional:
                raise PlacedError(f"{self.function} needs {key}, and the recipe does not give it", "backbone")
        return given

    def features(self, channels: int, image_size: Size) -> dict[str, Shape]:
        """Shape (C, H, W) of the spikes at each split, found by running the network once.

        Raises:
            TestbedError: it cannot be built, run, or deployed.
        """
        from testbed.snn.survey import surveyed

        return surveyed(self, channels, image_size).splits

    def carries_current(self, split: str) -> bool:
        """Never: a split lies where bits alone leave."""
        return False

    def no_split(self, split: str, channels: int, image_size: Size) -> str:
        """Why there is no split of this name."""
        from testbed.snn.survey import surveyed

        found = surveyed(self, channels, image_size)
        return found.refused.get(split) or f"{self.name} has no split {split!r}; there is {', '.join(found.splits)}"


def _finite(value: Any) -> bool:
    """Whether no number in an argument is infinite or none at all; its schema knows nothing of what is in it."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@dataclass(frozen=True)
class FileHere:
    """A file that a recipe names. Two are equal where their contents are."""

    path: Path = field(compare=False)
    sha256: str


def named(suffix: str) -> Any:
    """What reads a key that names a file with this suffix; in a dump it is the file's SHA-256."""

    def found(value: Any, info: pydantic.ValidationInfo) -> FileHere:
        if isinstance(value, FileHere):
            return value
        if not isinstance(value, str) or not value.endswith(suffix):
            raise ValueError(f"expected FILE{suffix}, as seen from this file")
        path = beside(value, info)
        try:
            return FileHere(path, source_sha256(path))
        except TestbedError as error:
            raise ValueError(str(error)) from error

    return pydantic.BeforeValidator(found)


_AS_HASH = pydantic.PlainSerializer(lambda value: value.sha256, return_type=str)
_AS_TEXT = pydantic.WithJsonSchema({"type": "string"})
Weights: TypeAlias = Annotated[FileHere, named(".safetensors"), _AS_HASH, _AS_TEXT]
GraphFile: TypeAlias = Annotated[FileHere, named(".onnx"), _AS_HASH, _AS_TEXT]
