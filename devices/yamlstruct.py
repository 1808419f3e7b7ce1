"""What a YAML file says as a struct; what it may not say is an error that names file, line and what it may."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from devices.choices import choices, keys_of
from devices.power.spec import wrong
from devices.yamltext import shown

MOST_CHARACTERS = 300
"""Of a message; a key or value that is longer does not bury what is said of it."""


def finite(value: Any, place: str) -> None:
    """Make sure that no number of a document is infinite or none at all; a schema's bounds let some of them pass."""
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(f"Expected a finite number, got {value}", place)
    if isinstance(value, dict):
        for key, inner in value.items():
            finite(inner, f"{place}.{key}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            finite(inner, f"{place}[{index}]")


def locate(text: str) -> tuple[str, list[str | int]]:
    """Split a msgspec message into what is wrong and the keys that lead there."""
    message, *locations = re.split(r" - at `(?:key in )?\$([^`]*)`", text)
    # Outermost last: a struct's own check comes first, the place of that struct follows.
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", "".join(reversed([at for at in locations if at])))
    keys: list[str | int] = [name or int(index) for name, index in steps]
    if unknown := re.search(r"unknown field `(.*)`", message, re.DOTALL):
        keys.append(unknown[1])
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return shown(f"{where}: {message}" if where else message, MOST_CHARACTERS), keys


def instead(message: str, struct: type[msgspec.Struct], keys: Sequence[str | int]) -> str:
    """What a struct may say where it says a word that it may not, as the end of the message."""
    if "contains unknown field" in message:
        listed = ", ".join(keys_of(struct, keys[:-1]))
    else:
        listed = choices(struct, keys) if "Invalid enum value" in message else ""
    return f"; expected {listed}" if listed else ""
