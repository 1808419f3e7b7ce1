"""The seeded orders of a campaign: of its cells within a repeat, and of the samples within a cell."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

CellT = TypeVar("CellT")


class Samples(NamedTuple):
    """Positions in the evaluation bundle, in the order in which they are asked for."""

    measured: list[int]
    warmup: list[int]


def passes(
    cells: Sequence[CellT], repeats: int, seed: int, order: Literal["randomised", "as_written"] = "randomised"
) -> list[tuple[int, CellT]]:
    """Repeat after repeat, the cells of each in an order of their own, or as they are written.

    What drifts while the campaign runs then touches every cell alike, above all where the order is randomised.
    """
    if order == "as_written":
        return [(repeat, cell) for repeat in range(repeats) for cell in cells]
    rng = random.Random(seed)  # noqa: S311  (an order, not a secret)
    drawn: list[tuple[int, CellT]] = []
    for repeat in range(repeats):
        shuffled = list(cells)
        rng.shuffle(shuffled)
        drawn += [(repeat, cell) for cell in shuffled]
    return drawn


def samples(count: int, wanted: int, warmup: int, *, seed: int, repeat: int) -> Samples:
    """Draw `wanted` of `count` samples, each before any twice; the same in every cell of a repeat."""
    rng = random.Random(f"{seed}/{repeat}")  # noqa: S311
    measured: list[int] = []
    while len(measured) < wanted:
        measured += rng.sample(range(count), count)
    return Samples(measured[:wanted], [rng.randrange(count) for _ in range(warmup)])
