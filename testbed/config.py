"""YAML files checked against their schema, with errors that name the file, the line and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from devices import yamlfile
from devices.base.errors import DeviceError
from devices.yamlfile import Document, KeyPath, load
from testbed.errors import ExperimentError

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


class Strict(pydantic.BaseModel):
    """A block of a file: unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


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


def load_config(
    path: Path,
    model: type[ModelT],
    overrides: Sequence[str] = (),
    expand: Callable[[dict[str, Any]], Expanded] = Expanded,
) -> ModelT:
    """Read a YAML file into a pydantic model.

    Args:
        path: The file.
        model: What it may say.
        overrides: KEY=VALUE with dotted keys, values in YAML.
        expand: Writes out what the file says in short; it runs after the overrides.

    Raises:
        ExperimentError: with one line per thing that is wrong, each `FILE:LINE: key: what was expected`.
    """
    try:
        document = load(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
    for override in overrides:
        _override(document.data, override)
    expanded = expand(document.data)
    try:
        return model.model_validate(expanded.data)
    except pydantic.ValidationError as error:
        lines = dict.fromkeys(_explain(document, expanded, item) for item in error.errors())
        raise ExperimentError("\n".join(lines)) from error


def _explain(document: Document, expanded: Expanded, item: Any) -> str:
    """One pydantic error as a line; union branches that pydantic inserts into the path are skipped."""
    path: list[str | int] = []
    value: Any = document.data
    keys = expanded.in_file((*item["loc"], *getattr(item.get("ctx", {}).get("error"), "keys", ())))
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            if key == keys[-1]:
                path.append(key)
            continue
        path.append(key)
    dotted = ".".join(str(key) for key in path)
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] == "missing":
        message = "is missing"
    else:
        message = item["msg"].removeprefix("Value error, ")
        if not isinstance(item["input"], dict):  # a whole block would bury the message
            message += f" (found {item['input']!r})"
    return f"{document.path}:{document.line(path)}: {dotted + ': ' if dotted else ''}{message}"


def _override(data: Any, override: str) -> None:
    """Set one dotted key in place; list positions are numbers."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ExperimentError(f"--set {override}: expected KEY=VALUE, such as --set repeats=5")
    keys = dotted.split(".")
    try:
        value = yamlfile.value(text, f"--set {override}")
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
    try:
        for key in keys[:-1]:
            data = data[int(key)] if isinstance(data, list) else data.setdefault(key, {})
        if isinstance(data, list):
            data[int(keys[-1])] = value
        else:
            data[keys[-1]] = value
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ExperimentError(f"--set {override}: no place in the file for this key") from error
