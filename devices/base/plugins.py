"""What others add to the testbed's registries: installed packages by entry points, and files by what they say they add.

A package declares, in its own metadata, `[project.entry-points."testbed.GROUP"]` with lines `NAME = "module:object"`.
A file has a dict `ADDS = {"GROUP": {"NAME": object}}`.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from devices.base.errors import TestbedError
from devices.base.sourcefile import load_file, source_sha256

ThingT = TypeVar("ThingT")

PREFIX = "testbed."
ON_NODES = ("testbed.codecs", "testbed.modes", "testbed.power_sources", "testbed.exit_policies")
"""Groups whose parts run on a node too, and so decide what is measured."""

GROUPS = (*ON_NODES, "testbed.metrics", "testbed.figures")
ENVIRONMENT = "TESTBED_PLUGINS"
"""Environment variable by which a worker is told its files of plug-ins."""

ADDS = "ADDS"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Plugin:
    """A part that somebody adds.

    Attributes:
        thing: the object.
        called: begins a line about it; with FILE:LINE where a file adds it.
        owner: the package and its version, or FILE:LINE.
        digest: another one where the part is another: the SHA-256 of its file, or the package and its version.
    """

    thing: Any
    called: str
    owner: str
    digest: str


_in_use: list[Path] = [Path(name) for name in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if name]
_registries: list[functools._lru_cache_wrapper[Any]] = []


def registry(make: Callable[[], ThingT]) -> functools._lru_cache_wrapper[ThingT]:
    """Made once in a process, and again when other files are used: looking through packages takes some 15 ms."""
    cached = functools.cache(make)
    _registries.append(cached)
    return cached


def use_files(paths: Iterable[Path]) -> None:
    """Take what these files add from now on, and nothing of files that were used before.

    Raises:
        TestbedError: one cannot be loaded or does not say what it adds; the text begins with `FILE:LINE`.
    """
    wanted = [path.absolute() for path in paths]
    _in_use.clear()
    for path in wanted:
        if os.pathsep in str(path):
            raise TestbedError(f"{path}: the path of a plug-in's file may not have a {os.pathsep!r} in it")
        if [other.name for other in wanted].count(path.name) > 1:
            raise TestbedError(f"{path}: two files of plug-ins have this name; rename one")
        _added(path)
    _in_use.extend(wanted)
    for cached in _registries:
        cached.cache_clear()


def files() -> list[Path]:
    """The files whose parts are taken."""
    return list(_in_use)


def files_on_nodes() -> list[Path]:
    """Those of the files that add something that runs on a node.

    Raises:
        TestbedError: as `use_files`.
    """
    return [path for path in _in_use if not _added(path).keys().isdisjoint(ON_NODES)]


def told(paths: Iterable[Path]) -> dict[str, str]:
    """The environment variable by which a process that is started here uses these files."""
    return {ENVIRONMENT: os.pathsep.join(map(str, paths))}


def plugins(group: str) -> dict[str, Any]:
    """Name → object of each part that others add to a group, such as `testbed.codecs`, sorted by name.

    Raises:
        TestbedError: one cannot be loaded, or two have the same name; the text names who adds them.
    """
    return {name: plugin.thing for name, plugin in found(group).items()}


def found(group: str) -> dict[str, Plugin]:
    """As `plugins`, with who adds each.

    Raises:
        TestbedError: as `plugins`.
    """
    loaded: dict[str, Plugin] = {}
    for name, plugin in [*_of_packages(group), *_of_files(group)]:
        if name in loaded:
            raise TestbedError(
                f"{loaded[name].owner} and {plugin.owner} both add {name!r} to {group}; do without one of them"
            )
        loaded[name] = plugin
    return dict(sorted(loaded.items()))


def called(group: str, name: str) -> str:
    """How a line about a part begins: with FILE:LINE where a file adds it."""
    return found(group)[name].called


def with_plugins(group: str, own: Mapping[str, ThingT]) -> dict[str, ThingT]:
    """The testbed's own registry and what others add to it.

    Raises:
        TestbedError: as `plugins`, or one takes a name that is the testbed's own.
    """
    added = plugins(group)
    refuse_taken(group, own)
    return {**own, **added}


def refuse_taken(group: str, own: Iterable[str]) -> None:
    """Make sure that nobody takes one of these names.

    Raises:
        TestbedError: somebody does.
    """
    added = found(group)
    for name in own:
        if name in added:
            raise TestbedError(f"{added[name].called} may not be named so: the testbed's own is")


def _of_packages(group: str) -> list[tuple[str, Plugin]]:
    loaded = []
    for point in _points(group, tuple(sys.path)):
        line = f"the plug-in {point.name!r} of {group}"
        try:
            thing = point.load()
        except Exception as error:
            raise TestbedError(
                f"{line} ({_owner(point)}, {point.value}) cannot be loaded: {type(error).__name__}: {error}; "
                "mend that package or uninstall it"
            ) from error
        loaded.append((point.name, Plugin(thing, line, _owner(point), _owner(point))))
    return loaded


def _of_files(group: str) -> list[tuple[str, Plugin]]:
    loaded = []
    for path in _in_use:
        for name, thing in _added(path).get(group, {}).items():
            place = _place(path, group.removeprefix(PREFIX), name)
            line = f"{place}: the plug-in {name!r} of {group}"
            loaded.append((name, Plugin(thing, line, place, source_sha256(path))))
    return loaded


def _added(path: Path) -> dict[str, dict[str, Any]]:
    """Group → name → object of a file.

    Raises:
        TestbedError: it cannot be loaded, or its ADDS is missing or says something else.
    """
    adds = getattr(load_file(path), ADDS, None)
    known = ", ".join(group.removeprefix(PREFIX) for group in GROUPS)
    if not isinstance(adds, dict) or not adds or not all(isinstance(parts, dict) for parts in adds.values()):
        raise TestbedError(
            f'{_place(path)}: a file of plug-ins says what it adds in {ADDS} = {{"GROUP": {{"NAME": object}}}}, '
            f"with the groups {known} (docs/extending.md)"
        )
    for group, parts in adds.items():
        if f"{PREFIX}{group}" not in GROUPS:
            raise TestbedError(f"{_place(path, group)}: {ADDS} has no group {group!r}; there is {known}")
        for name in parts:
            if not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise TestbedError(
                    f"{_place(path, group, name)}: {name!r} is no name of a part: take small letters, digits, - and _"
                )
    return {f"{PREFIX}{group}": dict(parts) for group, parts in adds.items()}


def _place(path: Path, *keys: object) -> str:
    """FILE:LINE of what ADDS says under these keys, as far as it is written out there; FILE without ADDS."""
    node: ast.AST | None = None
    for statement in ast.parse(path.read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == ADDS for target in targets):
            node = statement
    if node is None:
        return str(path)
    line, inside = node.lineno, getattr(node, "value", None)  # type: ignore[attr-defined]
    for key in keys:
        pairs = zip(inside.keys, inside.values, strict=True) if isinstance(inside, ast.Dict) else ()
        inside = None
        for said, value in pairs:
            if isinstance(said, ast.Constant) and said.value == key:
                line, inside = said.lineno, value
    return f"{path}:{line}"


@functools.cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Looking through every package that is installed takes some 15 ms; `path` is where that is done."""
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, _owner(point))))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "a package without a name"
