"""Profiles: other values for some keys of an experiment, such as those with which it is small; `profile:` takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.yamlfile import KeyPath
from testbed.config import Expanded


def lay_over(data: dict[str, Any], asked: Mapping[str, Any]) -> Expanded:
    """A file's content with the values of the profile that is asked for.

    Blocks are merged, and everything else, lists too, is replaced. A profile that there is not changes nothing; the
    model refuses it.

    Args:
        data: What the file says.
        asked: What it says after `--set`, which may name a profile, and still decides over the profile's values.
    """
    name, profiles = asked.get("profile"), data.get("profiles")
    changes = profiles.get(name) if isinstance(profiles, dict) and isinstance(name, str) else None
    if not isinstance(changes, dict):
        return Expanded(data)
    places: dict[KeyPath, KeyPath] = {}
    return Expanded(_merged(data, changes, (), ("profiles", str(name)), places), places)


def _merged(
    block: Mapping[str, Any],
    changes: Mapping[str, Any],
    above: KeyPath,
    profile: KeyPath,
    places: dict[KeyPath, KeyPath],
) -> dict[str, Any]:
    merged = dict(block)
    for key, value in changes.items():
        old, keys = merged.get(key), (*above, key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value, keys, profile, places)
        else:
            merged[key] = value
            places[keys] = (*profile, *keys)
    return merged
