"""Exit thresholds from recorded confidences: the earliest mean exit that loses at most so many right answers.

Only the order of the confidences decides who exits when, so every value that occurs is a candidate and nothing is
binned. One threshold is found exactly. One per timestep is found by coordinate search, whose every step is exact: see
`per_timestep_thresholds`. Thresholds are given as short decimals between the values that they tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.record.exits import Floats, exit_timestep

Bools: TypeAlias = NDArray[np.bool_]

NEVER = 1.0
"""The threshold that only a confidence of exactly 1 reaches: the highest there is."""
Z_95 = 1.959964


class Drop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accuracy lost, in points; negative where accuracy was gained. `low` and `high` bound the 95% interval."""

    points: float
    low: float
    high: float


def paired_drop(before: Bools, after: Bools) -> Drop:
    """How much accuracy falls from one set of answers to another, over the same samples [N].

    The interval is the adjusted Wald interval for paired proportions: one is added to either count of discordant
    samples, two to N (Bonett and Price 2012, J. Educ. Behav. Stat. 37:479; recommended by Fagerland, Lydersen and
    Laake 2014, Stat. Med. 33:2850). Unlike McNemar's it has a width where no answer changed.
    """
    count = len(before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    p_lost, p_gained = (lost + 1) / (count + 2), (gained + 1) / (count + 2)
    centre = p_lost - p_gained
    half = Z_95 * math.sqrt((p_lost + p_gained - centre**2) / (count + 2))
    return Drop(
        points=100 * (lost - gained) / count,
        low=100 * max(centre - half, -1.0),
        high=100 * min(centre + half, 1.0),
    )


def single_threshold(confidences: Floats, right: Bools, losses: int) -> list[float] | None:
    """The one threshold, T - 1 times, with the earliest mean exit that loses at most `losses` right answers.

    None if no threshold loses so few.

    Args:
        confidences: of the accumulated logits, [T, N], within [0, 1].
        right: whether the answer at each timestep is right, [T, N].
        losses: right answers at timestep T that may be lost, net of those gained.
    """
    curve = _Curve(confidences, right)
    found = curve.best(int(right[-1].sum()) - losses)
    return None if found is None else [curve.decimal(found)] * (len(confidences) - 1)


def per_timestep_thresholds(confidences: Floats, right: Bools, losses: int) -> list[float] | None:
    """Thresholds [T - 1] with an early mean exit that lose at most `losses` right answers; None if there are none.

    A step of the search takes the one timestep whose threshold, moved to the best of all values with the others held,
    makes the mean exit earliest within the allowance; it goes on until no step helps. The allowance grows by
    one answer at a time from nothing: each begins at the single threshold for it and at what was found for
    smaller ones, whose unspent part then goes to the timestep that saves most by it. So the result is never
    worse than the single threshold, nor than that of a stricter allowance; a better one that needs two thresholds
    moved at once may be missed. Arguments as for `single_threshold`.
    """
    search, curve = _Search(confidences, right), _Curve(confidences, right)
    whole = int(right[-1].sum())
    best: list[_Found] = []
    for allowed in range(losses + 1):
        if best and best[-1].exits == right.shape[1]:
            break  # everyone exits at the first timestep already
        starts = {best[-back] for back in _powers_of_two(len(best))}
        single = curve.best(whole - allowed)
        if single is not None:
            starts.add(search.measure([single] * (len(confidences) - 1)))
        if starts:
            best.append(min(search.polish(start, whole - allowed) for start in starts))
    return search.decimals(best[-1].thresholds) if best else None


class _Curve:
    """Exits and right answers under every single threshold, from the running maximum of each sample's confidence.

    A sample has exited by timestep t exactly if the largest of its confidences so far reaches the threshold.
    """

    def __init__(self, confidences: Floats, right: Bools) -> None:
        highest = np.maximum.accumulate(confidences[:-1], axis=0)
        self.values = np.unique(np.append(highest, NEVER))
        count = right.shape[1]
        self.exits = np.full(len(self.values), count, dtype=np.int64)
        self.right = np.full(len(self.values), int(right[0].sum()), dtype=np.int64)
        for timestep, reached in enumerate(highest):
            order = np.argsort(reached)
            waiting = np.searchsorted(reached[order], self.values)  # how many are below each threshold
            self.exits += waiting
            for answers, sign in ((right[timestep + 1], 1), (right[timestep], -1)):
                self.right += sign * np.append(0, np.cumsum(answers[order]))[waiting]

    def best(self, needed: int) -> float | None:
        feasible = np.flatnonzero(self.right >= needed)
        if not len(feasible):
            return None
        # Of equal exits the more right answers, then the higher threshold.
        chosen = feasible[np.lexsort((-self.values[feasible], -self.right[feasible], self.exits[feasible]))[0]]
        return float(self.values[chosen])

    def decimal(self, value: float) -> float:
        position = int(np.searchsorted(self.values, value))
        return value if value >= NEVER else _decimal(float(self.values[position - 1]) if position else 0.0, value)


class _Found(NamedTuple):
    """Thresholds and what they do; the smallest tuple is the best: earliest exits, then fewest wrong answers."""

    exits: int
    wrong: int
    thresholds: tuple[float, ...]


class _Search:
    """Coordinate search over thresholds [T - 1]."""

    def __init__(self, confidences: Floats, right: Bools) -> None:
        self._sure, self._right = confidences, right
        self._last, self._count = len(confidences) - 1, right.shape[1]
        self._order = np.argsort(-confidences[:-1], axis=1)

    def measure(self, thresholds: list[float]) -> _Found:
        exits = exit_timestep(self._sure, thresholds)
        correct = int(self._right[exits - 1, np.arange(self._count)].sum())
        return _Found(int(exits.sum()), self._count - correct, tuple(thresholds))

    def polish(self, found: _Found, needed: int) -> _Found:
        """Move one threshold at a time, the one that helps most, until none does."""
        while True:
            moved = min(self._moves(found, needed), default=found)
            if moved[:2] >= found[:2]:
                return found
            found = moved

    def _moves(self, found: _Found, needed: int) -> Iterator[_Found]:
        """For each timestep, the best that moving its threshold alone can do, if it keeps what is needed."""
        after = self._ends_after(found.thresholds)
        arrives = np.ones(self._count, dtype=bool)
        for timestep, threshold in enumerate(found.thresholds):
            order = self._order[timestep][arrives[self._order[timestep]]]
            end = after[timestep][order]
            values = self._sure[timestep][order]
            leave = values >= threshold
            # Entry j is what changes when the j surest of those that arrive here exit here and the others go on.
            exits = np.append(0, np.cumsum(timestep - end))
            correct = np.append(0, np.cumsum(self._right[timestep][order].astype(np.int64) - self._right[end, order]))
            present = int(leave.sum())
            exits += found.exits - exits[present]
            correct += self._count - found.wrong - correct[present]
            # Equal confidences exit together, and those of exactly 1 always do.
            possible = (np.append(NEVER, values) > np.append(values, -1.0)) & (correct >= needed)
            chosen = np.flatnonzero(possible)
            if len(chosen):
                best = int(chosen[np.lexsort((-correct[chosen], exits[chosen]))[0]])
                moved = list(found.thresholds)
                moved[timestep] = float(values[best - 1]) if best else NEVER
                yield _Found(int(exits[best]), self._count - int(correct[best]), tuple(moved))
            arrives[order[leave]] = False

    def _ends_after(self, thresholds: tuple[float, ...]) -> NDArray[np.int64]:
        """Where a sample exits, counted from 0, that has passed timestep t: [T - 1, N]."""
        after = np.full((self._last, self._count), self._last)
        for timestep in range(self._last - 1, 0, -1):
            leaves = self._sure[timestep] >= thresholds[timestep]
            after[timestep - 1] = np.where(leaves, timestep, after[timestep])
        return after

    def decimals(self, thresholds: tuple[float, ...]) -> list[float]:
        """The same exits with short thresholds; one that nobody reaches becomes the highest there is."""
        arrives = np.ones(self._count, dtype=bool)
        short = []
        for timestep, threshold in enumerate(thresholds):
            values = self._sure[timestep][arrives]
            leaving, staying = values[values >= threshold], values[values < threshold]
            short.append(
                _decimal(float(staying.max()) if len(staying) else 0.0, float(leaving.min())) if len(leaving) else NEVER
            )
            arrives &= self._sure[timestep] < threshold
        return short


def _decimal(low: float, high: float) -> float:
    """A number in (low, high], near the middle and with as few digits as that takes."""
    middle = (low + high) / 2
    for digits in range(1, 18):
        if low < (rounded := round(middle, digits)) <= high:
            return rounded
    return high


def _powers_of_two(most: int) -> Iterator[int]:
    step = 1
    while step <= most:
        yield step
        step *= 2
