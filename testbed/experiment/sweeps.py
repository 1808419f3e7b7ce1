"""Sweeps: a cell with a list where one value belongs stands for one cell for each value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from devices.yamlfile import KeyPath
from testbed.config import Expanded

SWEPT = (("exit", "threshold"), ("exit", "calibrate", "drop"))
"""Keys of a cell that may be a list of values."""


MOST_CELLS = 1000
"""Of a campaign. Lists that multiply to more are not written out any further."""


def expand(data: dict[str, Any]) -> Expanded:
    """Write the sweeps of an experiment's cells out, and note where each cell and swept value stands in the file."""
    cells = data.get("cells")
    if not isinstance(cells, list):
        return Expanded(data)
    variants = ((position, cell, origins) for position, swept in enumerate(cells) for cell, origins in _variants(swept))
    expanded: list[Any] = []
    places: dict[KeyPath, KeyPath] = {}
    for position, cell, origins in islice(variants, MOST_CELLS + 1):
        places["cells", len(expanded)] = ("cells", position)
        for keys, index in origins.items():
            places[("cells", len(expanded), *keys)] = ("cells", position, *keys, index)
        expanded.append(cell)
    return Expanded({**data, "cells": expanded}, places)


def _variants(cell: Any) -> Iterator[tuple[Any, dict[tuple[str, ...], int]]]:
    """Each cell that a cell stands for, and the position in its list of each value that was swept."""
    swept = {keys: values for keys in SWEPT if isinstance(values := _at(cell, keys), list) and values}
    for positions in product(*(range(len(values)) for values in swept.values())):
        variant = cell
        for (keys, values), position in zip(swept.items(), positions, strict=True):
            variant = _with(variant, keys, values[position])
        yield variant, dict(zip(swept, positions, strict=True))


def _at(cell: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell


def _with(cell: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = keys
    return {**cell, first: _with(cell[first], tuple(rest), value) if rest else value}
