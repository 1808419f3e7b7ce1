"""`--set KEY=VALUE` on top of a file: what each changes, and which one is to blame for a mistake."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devices import yamlfile
from devices.base.errors import DeviceError
from devices.yamltext import KeyPath, shown
from testbed.errors import ExperimentError

_SHOWN = 100


@dataclass(frozen=True)
class Override:
    """One `--set`: the path of the key that it sets, and its KEY=VALUE."""

    keys: KeyPath
    text: str

    @property
    def name(self) -> str:
        """How a message names it."""
        return _name(self.text)


@dataclass(frozen=True)
class Overridden:
    """A file's content after its overrides."""

    data: dict[str, Any]
    overrides: tuple[Override, ...]

    def to_blame(self, keys: KeyPath, *, in_file: bool, file_is_right: bool) -> tuple[Override, ...]:
        """The overrides that a mistake may come from; none: it comes from the file.

        Args:
            keys: Where the mistake is, or the block that contradicts itself.
            in_file: The file without overrides has the same mistake.
            file_is_right: The file without overrides has no mistake at all.
        """
        above = [one for one in self.overrides if keys[: len(one.keys)] == one.keys]
        if above:
            return (above[-1],)
        if in_file:
            return ()
        below = tuple(one for one in self.overrides if one.keys[: len(keys)] == keys)
        return below or (self.overrides if file_is_right else ())


def override(data: dict[str, Any], texts: Sequence[str]) -> Overridden:
    """Set dotted keys in a copy of a file's content, one after the other; list positions are numbers.

    Raises:
        ExperimentError: a text is no KEY=VALUE, its value is no YAML, or the file has no place for its key.
    """
    data = copy.deepcopy(data)
    return Overridden(data, tuple(_set(data, text) for text in texts))


def _set(data: Any, text: str) -> Override:
    name = _name(text)
    dotted, equals, value_text = text.partition("=")
    if not equals or not dotted:
        raise ExperimentError(f"{name}: expected KEY=VALUE, such as --set repeats=5")
    try:
        value = yamlfile.value(value_text, name)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
    *parents, last = dotted.split(".")
    keys: list[str | int] = []
    at: Any = data
    try:
        for key in parents:
            keys.append(_key(at, key))
            at = at.setdefault(key, {}) if isinstance(at, dict) else at[keys[-1]]
        keys.append(_key(at, last))
        at[keys[-1]] = value
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ExperimentError(f"{name}: no place in the file for this key") from error
    return Override(tuple(keys), text)


def _key(data: Any, key: str) -> str | int:
    """A key as `data` has it: a position from 0 where it is a list."""
    return range(len(data))[int(key)] if isinstance(data, list) else key


def _name(text: str) -> str:
    return shown(f"--set {text}", _SHOWN)
