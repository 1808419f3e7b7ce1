"""YAML files checked against their schema, with errors that name the file, the line and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

import pydantic

from devices.base.errors import DeviceError
from devices.yamlfile import load
from devices.yamltext import KeyPath, shown
from testbed.errors import ExperimentError
from testbed.overrides import override

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)

MOST_LINES = 20
"""Of mistakes that are listed; a file with more is another kind of file."""

Name: TypeAlias = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
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
            wanted = set(_leaves(cls.model_fields[str(info.field_name)].annotation))
            if wanted & {int, float} and bool not in wanted:
                raise ValueError("expected a number")
        return value


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation: int and NoneType of `tuple[int, ...] | None`."""
    yield from (leaf for part in get_args(annotation) for leaf in _leaves(part))
    if not get_args(annotation) and isinstance(annotation, type):
        yield annotation


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
        ExperimentError: with one line per thing that is wrong, each `FILE:LINE: key: what was expected`, or
            `--set KEY=VALUE: key: what was expected`.
    """
    try:
        document = load(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
    overridden = override(document.data, overrides)
    expanded = expand(overridden.data)
    try:
        return model.model_validate(expanded.data)
    except pydantic.ValidationError as error:
        mistakes = _mistakes(error, expanded, overridden.data)

        def with_only(some: Sequence[str]) -> list[_Mistake]:
            return _mistakes_in(override(document.data, some).data, model, expand)

        alone = with_only(()) if overrides else mistakes
        lines = []
        for mistake in mistakes:
            guilty = overridden.to_blame(mistake.keys, in_file=mistake in alone, file_is_right=not alone)
            if len(guilty) > 1:
                guilty = tuple(one for one in guilty if mistake in with_only([one.text])) or guilty
            place = " ".join(one.name for one in guilty) or f"{path}:{document.line(mistake.keys)}"
            lines.append(f"{place}: {mistake}")
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"{path}: {len(lines) - MOST_LINES} more mistakes"]
        raise ExperimentError("\n".join(lines)) from error


@dataclass(frozen=True)
class _Mistake:
    """What is wrong, and where in the file."""

    keys: KeyPath
    message: str

    def __str__(self) -> str:
        dotted = ".".join(shown(str(key)) for key in self.keys)
        return f"{dotted + ': ' if dotted else ''}{self.message}"


def _mistakes_in(
    data: dict[str, Any], model: type[pydantic.BaseModel], expand: Callable[[dict[str, Any]], Expanded]
) -> list[_Mistake]:
    expanded = expand(data)
    try:
        model.model_validate(expanded.data)
    except pydantic.ValidationError as error:
        return _mistakes(error, expanded, data)
    return []


def _mistakes(error: pydantic.ValidationError, expanded: Expanded, data: dict[str, Any]) -> list[_Mistake]:
    """Each thing that is wrong, once: of what was written out several times, only what differs is repeated."""
    items = error.errors()
    # pydantic counts what is right in a list, so one with nothing but mistakes is "too short" besides.
    outer = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    real = [item for item in items if item["type"] != "too_short" or item["loc"] not in outer]
    return list(dict.fromkeys(_mistake(expanded, data, item) for item in real))


def _mistake(expanded: Expanded, data: dict[str, Any], item: Any) -> _Mistake:
    """One pydantic error; union branches that pydantic inserts into the path are skipped."""
    path: list[str | int] = []
    value: Any = data
    keys = expanded.in_file((*item["loc"], *getattr(item.get("ctx", {}).get("error"), "keys", ())))
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            if key == keys[-1]:
                path.append(key)
            continue
        path.append(key)
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] == "missing":
        message = "is missing"
    else:
        message = item["msg"].removeprefix("Value error, ")
        # A whole block would bury the message.
        if not isinstance(item["input"], dict | pydantic.BaseModel) and item["type"] not in ("too_short", "too_long"):
            message += f" (found {shown(repr(item['input']))})"
    return _Mistake(tuple(path), message)
