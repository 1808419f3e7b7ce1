"""What a difference between two cells is worth: its interval, and whether it is more than noise.

The interval is 95%, Student's over the differences of the repeats where both cells asked for the same samples in the
same repeats, else Welch's over the repeats of each. Between two sensors their own uncertainties are added, with the
degrees of freedom of Welch and Satterthwaite (JCGM 100:2008, G.4).

Of many differences one in twenty leaves its interval by chance. So a difference counts as beyond noise only where it
holds among all that are compared: the procedure of Benjamini and Hochberg (1995) at 5%. Where nothing differs, it calls
anything at all beyond noise in at most 5% of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from analysis.compare.numbers import Number

LEVEL = 0.05
ROUNDING = 1e-9
"""Sums in another order differ by less than this share of themselves, which is no difference."""

Verdict: TypeAlias = Literal["beyond noise", "unclear", "within noise", "unknown"]


@dataclass(frozen=True)
class Difference:
    """One number of A and B, each the mean of its repeats, and B less A with its 95% interval.

    Attributes:
        name, unit: of the number, as in `summary.csv`.
        a, b: the number in A and in B.
        low, high: ends of the interval; None for fewer than two repeats.
        paired: whether repeats are compared each with its counterpart.
        tolerance: how much more or less than A does not count, in `unit`.
        p: how likely chance alone goes beyond the tolerance as far; None where there is no interval.
        verdict: `beyond noise`; `unclear`: beyond its own interval, but not among so many; `within noise`; `unknown`.
    """

    name: str
    unit: str
    a: float
    b: float
    low: float | None
    high: float | None
    paired: bool
    tolerance: float
    p: float | None
    verdict: Verdict = "unknown"

    @property
    def difference(self) -> float:
        """B less A."""
        return self.b - self.a

    @property
    def percent(self) -> float | None:
        """The difference in percent of A; None where A is 0."""
        return None if self.a == 0 else 100 * self.difference / abs(self.a)


def difference(name: str, a: Number, b: Number, *, paired: bool, within: float) -> Difference:
    """The difference of a number between two cells, not yet judged.

    Args:
        name: of the number.
        a: in A.
        b: in B.
        paired: whether the same samples were asked for in the same repeats.
        within: the share of A that does not count, 0.05 for 5%.
    """
    both = sorted(a.per_repeat.keys() & b.per_repeat.keys())
    if paired:
        pairs = [(float(a.per_repeat[repeat]), float(b.per_repeat[repeat])) for repeat in both]
        mean_a, mean_b = (math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True))
        parts = [_variance_of_mean([two - one for one, two in pairs])]
    else:
        sides = [[float(value) for value in side.per_repeat.values()] for side in (a, b)]
        mean_a, mean_b = (math.fsum(side) / len(side) for side in sides)
        parts = [_variance_of_mean(side) for side in sides]
    tolerance = within * abs(mean_a)
    found = Difference(name, a.unit, mean_a, mean_b, None, None, paired, tolerance, None)
    if any(degrees < 1 for _, degrees in parts):
        return found
    if a.sensor != b.sensor:
        parts += [(a.systematic**2, math.inf), (b.systematic**2, math.inf)]
    error = math.sqrt(math.fsum(variance for variance, _ in parts))
    size = abs(found.difference)
    if max(size, error) <= ROUNDING * max(abs(mean_a), abs(mean_b)):
        return replace(found, b=mean_a, low=0.0, high=0.0, p=1.0)
    degrees = _degrees(parts)
    half = _quantile(degrees) * error
    return replace(
        found, low=found.difference - half, high=found.difference + half, p=_p(size - tolerance, error, degrees)
    )


def judge(differences: Mapping[str, Sequence[Difference]]) -> dict[str, list[Difference]]:
    """The same with verdicts, which depend on all of them together.

    Numbers that are equal to the last digit are no tests: they are not counted among them.
    """
    known = sorted(
        found.p
        for every in differences.values()
        for found in every
        if found.p is not None and (found.low, found.high) != (0.0, 0.0)
    )
    allowed = [p for place, p in enumerate(known, 1) if p <= LEVEL * place / len(known)]
    limit = max(allowed, default=-1.0)
    return {
        key: [replace(found, verdict=_verdict(found, limit)) for found in every] for key, every in differences.items()
    }


def _verdict(found: Difference, limit: float) -> Verdict:
    if found.p is None:
        return "unknown"
    if found.p <= limit:
        return "beyond noise"
    return "unclear" if found.p < LEVEL else "within noise"


def _variance_of_mean(values: Sequence[float]) -> tuple[float, float]:
    """Variance of a mean, and its degrees of freedom."""
    count = len(values)
    if count < 2:
        return 0.0, 0.0
    mean = math.fsum(values) / count
    return math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count, count - 1.0


def _degrees(parts: Sequence[tuple[float, float]]) -> float:
    below = math.fsum(variance**2 / degrees for variance, degrees in parts)
    whole = math.fsum(variance for variance, _ in parts) ** 2
    return 1e9 if below == 0 else min(whole / below, 1e9)


def _quantile(degrees: float) -> float:
    from scipy import special

    return float(special.stdtrit(degrees, 1 - LEVEL / 2))


def _p(beyond: float, error: float, degrees: float) -> float:
    """Two-sided; 1 within the tolerance."""
    from scipy import special

    if beyond <= 0:
        return 1.0
    return 0.0 if error == 0 else 2 * float(special.stdtr(degrees, -beyond / error))
