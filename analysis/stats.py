"""How sure a number is: 95% intervals over repeats and of a proportion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_Z_95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A mean over repeats and the half-width of its 95% interval; None where a single repeat gives none."""

    mean: float
    half: float | None


def t_quantile(degrees: int) -> float:
    """Student's t for a two-sided 95% interval; beyond 30 degrees of freedom that of 30, slightly wide."""
    return _T_95[min(degrees, len(_T_95)) - 1]


def over_repeats(values: Sequence[float]) -> Interval:
    """Mean and 95% interval of one value per repeat: requests are autocorrelated, repeats are the sample."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, None)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Interval(mean, t_quantile(count - 1) * deviation / math.sqrt(count))


def wilson(proportion: float, count: int) -> tuple[float, float]:
    """95% interval of a proportion of `count` independent samples (Wilson 1927)."""
    z2 = _Z_95**2
    centre = (proportion + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z_95 / (1 + z2 / count) * math.sqrt(proportion * (1 - proportion) / count + z2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)
