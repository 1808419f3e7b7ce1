"""YAML files checked against their schema, with errors that name the file, the line and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import pydantic

from devices.base.errors import DeviceError
from devices.yamlfile import load
from devices.yamltext import KeyPath, shown
from testbed.errors import ExperimentError
from testbed.importing import FOLDER
from testbed.meant import leaves, meant
from testbed.overrides import Overridden, override

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)

MOST_LINES = 20
"""Of mistakes that are listed; a file with more is another kind of file."""

KINDS = {
    "cells": "an experiment, which testbed run takes",
    "backbone": "a recipe, which testbed train takes",
    "reach": "a device, which testbed check takes",
}
"""By a key that one kind of file alone has: what a file with this key is."""

MOST_NAME = 64
"""Letters of what becomes the name of a folder."""

Name: TypeAlias = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=MOST_NAME)]
"""What becomes the name of a folder."""

MOST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""


class Strict(pydantic.BaseModel):
    """A block of a file: unknown keys are errors, and so are numbers that are infinite, not a number, or yes or no."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        given = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, bool) for one in given):
            wanted = set(leaves(cls.model_fields[str(info.field_name)].annotation))
            if wanted & {int, float} and bool not in wanted:
                raise ValueError("expected a number")
        return value


def any_of(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True)
class Expanded:
    """A file's content with its shorthands written out.

    `places` maps the path of each part that was written out to the path of what stands for it in the file.
    """

    data: dict[str, Any]
    places: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def in_file(self, keys: KeyPath) -> KeyPath:
        """Where in the file a path of the expanded content comes from."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return (*self.places[keys[:length]], *keys[length:])
        return keys


class PlacedError(ValueError):
    """What a validator of a whole document found wrong, and the keys that lead to it from where it validates."""

    def __init__(self, message: str, *keys: str | int) -> None:
        super().__init__(message)
        self.keys = keys


Layer: TypeAlias = Callable[[dict[str, Any], Mapping[str, Any]], Expanded]
"""What a file says, and what it says after its overrides → what it says with a part of it laid over the rest."""


def load_config(
    path: Path,
    model: type[ModelT],
    overrides: Sequence[str] = (),
    expand: Callable[[dict[str, Any]], Expanded] = Expanded,
    layer: Layer | None = None,
    context: Mapping[str, Any] | None = None,
) -> ModelT:
    """Read a YAML file into a pydantic model.

    Args:
        path: The file.
        model: What it may say.
        overrides: KEY=VALUE with dotted keys, values in YAML.
        expand: Writes out what the file says in short; it runs after the overrides.
        layer: Lays a part of the file over the rest; the overrides come on top.
        context: What the model's validators are told beside the file.

    Raises:
        ExperimentError: with one line per thing that is wrong, each `FILE:LINE: key: what was expected`, or
            `--set KEY=VALUE: key: what was expected`.
    """
    try:
        document = load(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
    _refuse_another_kind(path, document.data, model)
    context = {FOLDER: path.parent, **(context or {})}
    read = _Reading(document.data, model, expand, layer, context)
    overridden, base = read.on_top(overrides)
    expanded = expand(overridden.data)
    try:
        return model.model_validate(expanded.data, context=context)
    except pydantic.ValidationError as error:
        mistakes = _mistakes(error, model, expanded, overridden.data)
        # What the file says by itself, in the layer that was asked for.
        chosen = [one.text for one in overridden.overrides if layer is not None and one.keys == LAYER_KEY]
        alone = read.mistakes(chosen) if overrides else mistakes
        lines = []
        for mistake in mistakes:
            guilty = overridden.to_blame(mistake.keys, in_file=mistake in alone, file_is_right=not alone)
            if len(guilty) > 1:
                guilty = tuple(one for one in guilty if mistake in read.mistakes([*chosen, one.text])) or guilty
            if guilty:
                lines.append(f"{' '.join(one.name for one in guilty)}: {mistake}")
            else:
                found = _Mistake(base.in_file(mistake.keys), mistake.message)
                lines.append(f"{path}:{document.line(found.keys)}: {found}")
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"{path}: {len(lines) - MOST_LINES} more mistakes"]
        raise ExperimentError("\n".join(lines)) from error


def _refuse_another_kind(path: Path, data: Mapping[str, Any], model: type[pydantic.BaseModel]) -> None:
    """One line for a whole file that is something else, in place of one for each of its keys."""
    own = [key for key in KINDS if key in model.model_fields]
    others = [key for key in KINDS if key in data and key not in own]
    if own and others and not any(key in data for key in own):
        raise ExperimentError(f"{path}: this is {KINDS[others[0]]}; expected {KINDS[own[0]].partition(',')[0]}")


LAYER_KEY: KeyPath = ("profile",)
"""The key that says which part of a file is laid over the rest."""


@dataclass(frozen=True)
class _Reading:
    """A file's content, and what is done to it before its model sees it."""

    data: dict[str, Any]
    model: type[pydantic.BaseModel]
    expand: Callable[[dict[str, Any]], Expanded]
    layer: Layer | None
    context: Mapping[str, Any]

    def on_top(self, overrides: Sequence[str]) -> tuple[Overridden, Expanded]:
        """The content with these overrides, and what they lie on."""
        overridden = override(self.data, overrides)
        if self.layer is None:
            return overridden, Expanded(self.data)
        base = self.layer(self.data, overridden.data)
        return (override(base.data, overrides) if base.places else overridden), base

    def mistakes(self, overrides: Sequence[str]) -> list[_Mistake]:
        """What is wrong with these overrides."""
        data = self.on_top(overrides)[0].data
        expanded = self.expand(data)
        try:
            self.model.model_validate(expanded.data, context=self.context)
        except pydantic.ValidationError as error:
            return _mistakes(error, self.model, expanded, data)
        return []


@dataclass(frozen=True)
class _Mistake:
    """What is wrong, and where in the file."""

    keys: KeyPath
    message: str

    def __str__(self) -> str:
        dotted = ".".join(shown(str(key)) for key in self.keys)
        return f"{dotted + ': ' if dotted else ''}{self.message}"


def _mistakes(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], expanded: Expanded, data: dict[str, Any]
) -> list[_Mistake]:
    """Each thing that is wrong, once: of what was written out several times, only what differs is repeated."""
    items = error.errors()
    # pydantic counts what is right in a list, so one with nothing but mistakes is "too short" besides.
    outer = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    real = [item for item in items if item["type"] != "too_short" or item["loc"] not in outer]
    return list(dict.fromkeys(_mistake(model, expanded, data, item) for item in real))


def _mistake(model: type[pydantic.BaseModel], expanded: Expanded, data: dict[str, Any], item: Any) -> _Mistake:
    """One pydantic error; union branches that pydantic inserts into the path are skipped."""
    path: list[str | int] = []
    value: Any = data
    block: Any = data
    keys = expanded.in_file((*item["loc"], *getattr(item.get("ctx", {}).get("error"), "keys", ())))
    if item["type"] == "extra_forbidden" and isinstance(keys[-1], int):
        keys = keys[:-1]  # an unknown key that is swept is wrong once, not with each of its values
    for key in keys:
        try:
            value, block = value[key], value
        except (KeyError, IndexError, TypeError):
            if key == keys[-1] and item["type"] in ("missing", "value_error"):  # else a branch of a union
                path.append(key)
            continue
        path.append(key)
    if item["type"] == "extra_forbidden":
        probably = meant(model, item["loc"], block)
        message = "unknown key" + (f"; did you mean {probably}?" if probably else "")
    elif item["type"] == "missing":
        message = "is missing"
    else:
        message = item["msg"].removeprefix("Value error, ")
        # A whole block would bury the message.
        if not isinstance(item["input"], dict | pydantic.BaseModel) and item["type"] not in ("too_short", "too_long"):
            message += f" (found {shown(repr(item['input']))})"
    return _Mistake(tuple(path), message)
