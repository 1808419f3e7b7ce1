"""Means and percentiles in which each repeat counts alike, and in it each sample.

A repeat that a slow power source makes longer asks for the same samples again in whole passes; another asks for some
samples twice. Neither is to weigh more for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class PerSample:
    """A number for each sample in each repeat, in arrays: a campaign has millions of them.

    `keys` [2, N] has repeats and samples, in their order; `values` [N].
    """

    keys: NDArray[np.int32]
    values: NDArray[np.float64]

    def less(self, other: PerSample) -> NDArray[np.float64]:
        """For each distinct sample, the mean over the repeats that both have of this number less the other's."""
        own, others = (each.keys[0].astype(np.int64) << 32 | each.keys[1] for each in (self, other))
        _, mine, theirs = np.intersect1d(own, others, assume_unique=True, return_indices=True)
        _, sample, counts = np.unique(self.keys[1][mine], return_inverse=True, return_counts=True)
        return np.asarray(np.bincount(sample, self.values[mine] - other.values[theirs]) / counts)


class Alike:
    """Weighs rows that have a `repeat` and a `sample_index`, such as requests."""

    def __init__(self, rows: pd.DataFrame) -> None:
        repeat, sample = rows["repeat"].to_numpy(np.int64), rows["sample_index"].to_numpy(np.int64)
        # One number for each pair, in the order of the pairs: NumPy sorts numbers many times faster than columns.
        span = 1 + int(sample.max(initial=0))
        keys, self._group, self._passes = np.unique(repeat * span + sample, return_inverse=True, return_counts=True)
        self._keys = np.stack([keys // span, keys % span])
        self.repeats, self._repeat, self._samples = np.unique(self._keys[0], return_inverse=True, return_counts=True)

    def per_repeat(self, values: ArrayLike) -> dict[int, float]:
        """For each repeat, the mean over samples of each sample's mean over its passes."""
        of_samples = np.bincount(self._group, np.asarray(values, dtype=np.float64)) / self._passes
        of_repeats = np.bincount(self._repeat, of_samples) / self._samples
        return dict(zip(self.repeats.tolist(), of_repeats.tolist(), strict=True))

    def per_sample(self, values: ArrayLike) -> PerSample:
        """For each repeat and sample in it, the mean over its passes."""
        means = np.bincount(self._group, np.asarray(values, dtype=np.float64)) / self._passes
        return PerSample(self._keys.astype(np.int32), means)

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
