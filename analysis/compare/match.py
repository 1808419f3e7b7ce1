"""Which cell of A is compared with which of B, and whether their repeats can be paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import msgspec

from testbed.record.reader import Cell


def match(ours: Sequence[Cell], theirs: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Pairs of cells, in the order of A. One cell and one cell are always a pair.

    First come cells with the same hash, then those with the same label, then those with the same configuration. A key
    that several cells of a side share matches none.
    """
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    found: dict[int, Cell] = {}
    left_ours, left_theirs = list(ours), list(theirs)
    for key in (_hash, _label, _configuration):
        by_key = _unique(left_theirs, key)
        for name, cell in _unique(left_ours, key).items():
            if name in by_key:
                found[id(cell)] = by_key[name]
        left_ours = [cell for cell in left_ours if id(cell) not in found]
        taken = {id(cell) for cell in found.values()}
        left_theirs = [cell for cell in left_theirs if id(cell) not in taken]
    return [(cell, found[id(cell)]) for cell in ours if id(cell) in found]


def same_samples(one: Cell, other: Cell) -> bool:
    """Whether both have the same repeats, and asked for the same samples in each."""
    return _samples(one) == _samples(other)


def _samples(cell: Cell) -> dict[int, frozenset[int]]:
    rows = cell.requests
    chosen = {repeat: rows.loc[rows["repeat"] == repeat, "sample_index"] for repeat in rows["repeat"].unique().tolist()}
    return {repeat: frozenset(samples) for repeat, samples in chosen.items()}


def _unique(cells: Sequence[Cell], key: Callable[[Cell], Hashable]) -> dict[Hashable, Cell]:
    count = Counter(map(key, cells))
    return {name: cell for cell in cells if count[name := key(cell)] == 1}


def _hash(cell: Cell) -> Hashable:
    return cell.manifest.cell


def _label(cell: Cell) -> Hashable:
    return cell.manifest.label


def _configuration(cell: Cell) -> Hashable:
    config = msgspec.structs.replace(cell.manifest.config, position=0, baseline=False, seed=0, idle_s=0.0)
    return msgspec.json.encode(config)
