"""Means and percentiles in which each repeat counts alike, and in it each sample.

A repeat that a slow power source makes longer asks for the same samples again in whole passes; another asks for some
samples twice. Neither is to weigh more for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


class Alike:
    """Weighs rows that have a `repeat` and a `sample_index`, such as requests."""

    def __init__(self, rows: pd.DataFrame) -> None:
        keys = np.stack([rows["repeat"].to_numpy(np.int64), rows["sample_index"].to_numpy(np.int64)])
        groups, group, self._passes = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
        self._group = group.reshape(-1)  # NumPy 2.0 alone gives it a second axis
        self.repeats, self._repeat, self._samples = np.unique(groups[0], return_inverse=True, return_counts=True)

    def per_repeat(self, values: ArrayLike) -> dict[int, float]:
        """For each repeat, the mean over samples of each sample's mean over its passes."""
        of_samples = np.bincount(self._group, np.asarray(values, dtype=np.float64)) / self._passes
        of_repeats = np.bincount(self._repeat, of_samples) / self._samples
        return dict(zip(self.repeats.tolist(), of_repeats.tolist(), strict=True))

    def mean(self, values: ArrayLike) -> float:
        """The mean over repeats of `per_repeat`."""
        found = self.per_repeat(values)
        return math.fsum(found.values()) / len(found)

    def percentiles(self, values: ArrayLike, percents: Sequence[float]) -> list[float]:
        """Percentiles of all repeats together, linear between the middles of the rows' weights.

        Where all rows weigh alike these are NumPy's.
        """
        weight = 1.0 / (self._samples[self._repeat] * self._passes)[self._group]
        return _percentiles(np.asarray(values, dtype=np.float64), weight, percents)

    def percentiles_per_repeat(self, values: ArrayLike, percent: float) -> dict[int, float]:
        """One percentile of each repeat."""
        numbers, weight = np.asarray(values, dtype=np.float64), 1.0 / self._passes[self._group]
        found = {}
        for index, repeat in enumerate(self.repeats.tolist()):
            chosen = self._repeat[self._group] == index
            (found[repeat],) = _percentiles(numbers[chosen], weight[chosen], [percent])
        return found


def _percentiles(values: NDArray[np.float64], weight: NDArray[np.float64], percents: Sequence[float]) -> list[float]:
    order = np.argsort(values, kind="stable")
    ordered, weight = values[order], weight[order]
    middle = np.cumsum(weight) - weight / 2
    if len(ordered) == 1:
        return [float(ordered[0])] * len(percents)
    places = (middle - middle[0]) / (middle[-1] - middle[0])
    return [float(value) for value in np.interp(np.asarray(percents) / 100, places, ordered)]
