"""A recipe on the base of another: what it says, laid over what that one says. Such as another seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.yamlfile import load
from testbed.config import Expanded
from testbed.errors import ExperimentError

KEY = "base"
NOT_TAKEN = ("name", "checkpoint")
"""What belongs to the other recipe alone: its name, and the weights that were trained from what it says."""


def on_base(path: Path, data: dict[str, Any]) -> Expanded:
    """What a recipe says with `base: FILE.yaml` written out. Blocks are merged, everything else is replaced.

    Raises:
        ExperimentError: the base is no recipe beside this one, or has a base itself; or this one has no name.
    """
    if KEY not in data:
        return Expanded(data)
    name = data[KEY]
    if not isinstance(name, str) or Path(name).name != name:
        raise ExperimentError(f"{path}: {KEY}: expected the name of a recipe in the same folder (found {name!r})")
    if "name" not in data:
        raise ExperimentError(
            f"{path}: name: is missing; its weights are kept beside those of {name}, under another name"
        )
    below = load(path.parent / name).data
    if KEY in below:
        raise ExperimentError(f"{path}: {KEY}: {name} has a base itself; name that one")
    taken = {key: value for key, value in below.items() if key not in NOT_TAKEN}
    return Expanded(_merged(taken, {key: value for key, value in data.items() if key != KEY}))


def _merged(below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
