"""What installed packages add to the testbed's registries, by way of entry points.

A package declares, in its own metadata, `[project.entry-points."testbed.GROUP"]` with lines `NAME = "module:object"`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from devices.base.errors import TestbedError

ThingT = TypeVar("ThingT")


def plugins(group: str) -> dict[str, Any]:
    """Name → object of each entry point of a group, such as `testbed.codecs`, sorted by name.

    Raises:
        TestbedError: one cannot be loaded, or two have the same name; the text names their distributions.
    """
    loaded: dict[str, Any] = {}
    owners: dict[str, EntryPoint] = {}
    for point in _points(group, tuple(sys.path)):
        if point.name in owners:
            raise TestbedError(
                f"{_owner(owners[point.name])} and {_owner(point)} both add {point.name!r} to {group}; uninstall one"
            )
        try:
            loaded[point.name] = point.load()
        except Exception as error:
            raise TestbedError(
                f"the plug-in {point.name!r} of {group} ({_owner(point)}, {point.value}) cannot be loaded: "
                f"{type(error).__name__}: {error}; mend that package or uninstall it"
            ) from error
        owners[point.name] = point
    return loaded


def with_plugins(group: str, own: Mapping[str, ThingT]) -> dict[str, ThingT]:
    """The testbed's own registry and what plug-ins add to it.

    Raises:
        TestbedError: as `plugins`, or a plug-in takes a name that is the testbed's own.
    """
    added = plugins(group)
    if taken := sorted(own.keys() & added.keys()):
        raise TestbedError(f"a plug-in of {group} may not be named {', '.join(taken)}: the testbed's own is named so")
    return {**own, **added}


@functools.cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Looking through every package that is installed takes some 15 ms; `path` is where that is done."""
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, _owner(point))))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "a package without a name"
