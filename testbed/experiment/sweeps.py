"""Sweeps: a cell with a list where one value belongs stands for one cell for each value."""

from __future__ import annotations

from typing import Any

from devices.yamlfile import KeyPath
from testbed.config import Expanded

SWEPT = (("exit", "threshold"), ("exit", "calibrate", "drop"))
"""Keys of a cell that may be a list of values."""


def expand(data: dict[str, Any]) -> Expanded:
    """Write the sweeps of an experiment's cells out, and note which cell of the file each one comes from."""
    cells = data.get("cells")
    if not isinstance(cells, list):
        return Expanded(data)
    expanded: list[Any] = []
    places: dict[KeyPath, KeyPath] = {}
    for position, cell in enumerate(cells):
        for one in _variants(cell):
            places["cells", len(expanded)] = ("cells", position)
            expanded.append(one)
    return Expanded({**data, "cells": expanded}, places)


def _variants(cell: Any) -> list[Any]:
    variants = [cell]
    for keys in SWEPT:
        values = _at(cell, keys)
        if isinstance(values, list):
            variants = [_with(one, keys, value) for one in variants for value in values]
    return variants


def _at(cell: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell


def _with(cell: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = keys
    return {**cell, first: _with(cell[first], tuple(rest), value) if rest else value}
