"""Sweeps: one cell of a file stands for many, and one sweep of the experiment for many of every cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, TypeAlias

import pydantic

from devices.yamlfile import KeyPath
from testbed.config import Expanded, PlacedError, Strict
from testbed.errors import ExperimentError
from testbed.modes import facts_of

LISTS: frozenset[KeyPath] = frozenset({("faults",), ("exit", "thresholds"), ("chunks",), ("sweep",)})
"""Keys of a cell whose own value is, or holds, a list. A list anywhere else is a sweep."""

MOST_CELLS = 1000
"""Of a campaign. Lists that multiply to more are not written out any further."""

MOST_TRIED = 20_000
"""Cells before `exclude:` leaves any out. With more none is left out, and the campaign is refused as too large."""


class Sweep(Strict):
    """Lists of values that a cell, or every cell, stands for; written as in a cell, with a list for a value."""

    grid: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="lists that are multiplied: every combination of their values is a cell"
    )
    zip: dict[str, Any] = pydantic.Field(
        default_factory=dict,
        description="lists of one length: their first values make a cell, their second another",
    )
    list: tuple[dict[str, Any], ...] = pydantic.Field(
        (), description="blocks of keys: each is laid over the cell, and makes one"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _written_as_it_should(cls, given: Any) -> Any:
        axes_of(given, ())
        return given


@dataclass(frozen=True)
class Choice:
    """One value of a sweep: what it sets, and for each key that it sets where that stands in the file."""

    values: Mapping[KeyPath, Any]
    places: Mapping[KeyPath, KeyPath]

    def only(self, wanted: Sequence[KeyPath]) -> Choice:
        """The part of it that sets these keys."""
        return Choice({k: v for k, v in self.values.items() if k in wanted}, self.places)


Axis: TypeAlias = list[Choice]


@dataclass(frozen=True)
class _Variant:
    """A cell on the way to be written out."""

    cell: Any
    places: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def with_(self, picks: Sequence[Choice]) -> _Variant:
        cell, places = self.cell, dict(self.places)
        for pick in picks:
            for keys, value in pick.values.items():
                cell = _with(cell, keys, value)
                places[keys] = pick.places[keys]
        return _Variant(cell, places)


def expand(data: dict[str, Any]) -> Expanded:
    """Write the sweeps of an experiment out, and note where each cell and swept value stands in the file.

    A sweep that is not written as it should be stays where it is, for the models to refuse.
    """
    cells = data.get("cells")
    if not isinstance(cells, list):
        return Expanded(data)
    rest = dict(data)
    shared = _axes_or_none(data.get("sweep"), ("sweep",))
    if shared is not None:
        rest.pop("sweep", None)
    found = ((at, one) for at, cell in enumerate(cells) for one in _variants(cell, ("cells", at), shared or []))
    kept = list(islice(found, MOST_TRIED + 1 if data.get("exclude") else MOST_CELLS + 1))
    if len(kept) <= MOST_TRIED:
        kept = [(at, one) for at, one in kept if not _left_out(one.cell, data)]
    expanded: list[Any] = []
    places: dict[KeyPath, KeyPath] = {}
    for at, one in kept[: MOST_CELLS + 1]:
        places["cells", len(expanded)] = ("cells", at)
        places |= {("cells", len(expanded), *keys): place for keys, place in one.places.items()}
        expanded.append(one.cell)
    return Expanded({**rest, "cells": expanded}, places)


def axes_of(sweep: Any, at: KeyPath) -> list[Axis]:
    """The axes of a `sweep:` block, to be multiplied: one for each list of its grid, its zip, its list.

    Args:
        sweep: The block, as the file has it.
        at: Where it stands.

    Raises:
        PlacedError: it is not written as a sweep is; its keys are seen from the block.
    """
    if not isinstance(sweep, dict) or not sweep:
        raise PlacedError("a sweep needs grid, zip or list")
    axes: list[Axis] = []
    grid = _lists(sweep.get("grid", {}), ("grid",))
    axes += [
        [Choice({keys: value}, {keys: (*at, "grid", *keys, n)}) for n, value in enumerate(values)]
        for keys, values in grid.items()
    ]
    zipped = _lists(sweep.get("zip", {}), ("zip",))
    if len({len(values) for values in zipped.values()}) > 1:
        counts = ", ".join(f"{'.'.join(map(str, keys))} has {len(values)}" for keys, values in zipped.items())
        raise PlacedError(f"lists that go together need one length: {counts}", "zip")
    if zipped:
        axes.append(
            [
                Choice(
                    {keys: values[n] for keys, values in zipped.items()},
                    {keys: (*at, "zip", *keys, n) for keys in zipped},
                )
                for n in range(len(next(iter(zipped.values()))))
            ]
        )
    blocks = sweep.get("list", [])
    if not isinstance(blocks, list) or not all(isinstance(block, dict) and block for block in blocks):
        raise PlacedError("expected a list of blocks such as {codec: packed, exit: {threshold: 0.9}}", "list")
    if blocks:
        leaves = [dict(_leaves(block)) for block in blocks]
        axes.append([Choice(each, {keys: (*at, "list", n, *keys) for keys in each}) for n, each in enumerate(leaves)])
    return axes


def _axes_or_none(sweep: Any, at: KeyPath) -> list[Axis] | None:
    """None where there is no sweep, or none that can be written out."""
    try:
        return None if sweep is None or set(sweep) - set(Sweep.model_fields) else axes_of(sweep, at)
    except (PlacedError, TypeError):
        return None


def _variants(cell: Any, at: KeyPath, shared: Sequence[Axis]) -> Iterator[_Variant]:
    """Each cell that a cell stands for: its own lists and sweep first, then what the experiment sweeps."""
    own = [
        [Choice({keys: value}, {keys: (*at, *keys, n)}) for n, value in enumerate(values)]
        for keys, values in (_leaves(cell) if isinstance(cell, dict) else ())
        if isinstance(values, list) and values and keys not in LISTS
    ]
    if isinstance(cell, dict) and (axes := _axes_or_none(cell.get("sweep"), (*at, "sweep"))) is not None:
        cell = {key: value for key, value in cell.items() if key != "sweep"}
        own += axes
    for picks in product(*own):
        variant = _Variant(cell).with_(picks)
        seen: list[Any] = []
        for others in product(*(_fitting(axis, variant.cell) for axis in shared)):
            one = variant.with_(others)
            if one.cell not in seen:  # what does not fit a cell leaves it as it was, and once is enough
                seen.append(one.cell)
                yield one


def _fitting(axis: Axis, cell: Any) -> Axis:
    """Of an axis of the experiment what fits a cell and it does not say itself."""
    if not isinstance(cell, dict):
        return [Choice({}, {})]
    wanted = [keys for keys in axis[0].values if _fits(keys, cell) and not _says(cell, keys)]
    return [choice.only(wanted) for choice in axis]


def _fits(keys: KeyPath, cell: Mapping[str, Any]) -> bool:
    if keys == ("scenario", "target_qps") and _at(cell, ("scenario", "kind")) not in (None, "server"):
        return False
    mode: Any = cell.get("mode")
    try:
        facts = facts_of(mode)
    except (ExperimentError, TypeError):
        return True
    asks = "cloud" in facts.roles
    fits = {"codec": facts.needs_codec, "exit": facts.exits, "link": asks, "fallback": facts.cloud_part is not None}
    exits = facts.exits and bool(cell.get("exit"))
    fits |= {"variant": facts.network == "split", "window": facts.windows, "chunks": facts.windows or exits}
    return fits.get(str(keys[0]), True)


def _left_out(cell: Any, data: Mapping[str, Any]) -> bool:
    """Whether an `exclude:` matches a cell, which has the link, the variant and the scenario that it inherits."""
    patterns = data.get("exclude")
    if not isinstance(cell, dict) or not isinstance(patterns, list):
        return False
    inherits = {"variant": _at(data.get("models"), (cell.get("model"), "variant"))}
    if _fits(("link",), cell):
        inherits["link"] = data.get("link")
    whole = {**inherits, **cell}
    shared, own = data.get("scenario") or {}, cell.get("scenario") or {}
    if isinstance(shared, dict) and isinstance(own, dict):
        whole["scenario"] = {**shared, **own}
    return any(isinstance(one, dict) and bool(one) and _matches(whole, one) for one in patterns)


def _matches(value: Any, pattern: Any) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(_matches(value.get(key), part) for key, part in pattern.items())
    return value in pattern if isinstance(pattern, list) else bool(value == pattern)


def _lists(block: Any, at: KeyPath) -> dict[KeyPath, list[Any]]:
    """The lists of a block of a sweep, by their keys in the cell."""
    if not isinstance(block, dict):
        raise PlacedError("expected keys of a cell, with lists for values", *at)
    found: dict[KeyPath, list[Any]] = {}
    for keys, values in _leaves(block):
        if not isinstance(values, list) or not values:
            raise PlacedError("expected a list of values; one that stays the same belongs in the cell", *at, *keys)
        found[keys] = values
    return found


def _leaves(block: Mapping[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The values of nested mappings, with the keys that lead to them."""
    for key, value in block.items():
        if isinstance(value, dict) and value and (*above, key) not in LISTS:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _says(cell: Mapping[str, Any], keys: KeyPath) -> bool:
    """Whether a cell has a value where a sweep would set one, or one in place of a block that it would set."""
    value: Any = cell
    for key in keys:
        if not isinstance(value, dict):
            return True
        if key not in value:
            return False
        value = value[key]
    return True


def _at(value: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) and isinstance(key, str) else None
    return value


def _with(cell: Any, keys: KeyPath, value: Any) -> dict[str, Any]:
    """A copy of nested mappings with one value set; what is no mapping on the way makes room for one."""
    first, *rest = keys
    inner = cell if isinstance(cell, dict) else {}
    return {**inner, str(first): _with(inner.get(first), tuple(rest), value) if rest else value}
