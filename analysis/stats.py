"""How sure a number is: 95% intervals over repeats and of a proportion."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

_UPPER = 0.975  # of a two-sided 95% interval


@dataclass(frozen=True)
class Interval:
    """A mean over repeats and the half-width of its 95% interval; None where a single repeat gives none."""

    mean: float
    half: float | None


@functools.cache
def t_quantile(degrees: int) -> float:
    """Student's t for a two-sided 95% interval."""
    from scipy import special  # scipy.stats gives the same and takes three times as long to import

    return float(special.stdtrit(degrees, _UPPER))


def over_repeats(values: Sequence[float]) -> Interval:
    """Mean and 95% interval of one value per repeat: requests are autocorrelated, repeats are the sample."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, None)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean, t_quantile(count - 1) * deviation / math.sqrt(count))


@functools.cache
def _z() -> float:
    from scipy import special

    return float(special.ndtri(_UPPER))


def wilson(proportion: float, count: int) -> tuple[float, float]:
    """95% interval of a proportion of `count` independent samples (Wilson 1927).

    `scipy.stats.binomtest` has it for whole numbers of successes alone. Here a sample's share of right answers over
    repeats need not be whole. Where it is, both agree, and the tests compare them. Rounding never leaves the
    proportion itself outside.
    """
    z2 = _z() ** 2
    centre = (proportion + z2 / (2 * count)) / (1 + z2 / count)
    half = _z() / (1 + z2 / count) * math.sqrt(proportion * (1 - proportion) / count + z2 / (4 * count**2))
    return max(0.0, min(proportion, centre - half)), min(1.0, max(proportion, centre + half))
