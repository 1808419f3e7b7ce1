"""The 95% interval of an energy from its parts, as the GUM combines them (JCGM 100:2008).

A part is a standard uncertainty. Those of the sensor (gain, offset, LSB, edges) and of the idle baseline (drift) are
systematic: a chip has one gain, so measuring again or longer shrinks nothing, and over repeats they are averaged, not
divided by √n. What is random between repeats is in their spread already, and is not added a second time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from analysis.stats import t_quantile

PartName: TypeAlias = Literal["gain", "offset", "lsb", "edges", "drift", "repeats"]
PARTS: tuple[PartName, ...] = ("gain", "offset", "lsb", "edges", "drift", "repeats")


@dataclass(frozen=True)
class Budget:
    """A mean over repeats, the standard uncertainty of each part, and what they come to.

    `factor` is the coverage factor of 95%: `half` is `factor` times the root of the sum of squares of all parts.
    Both are None for a single repeat, whose spread nobody knows.
    """

    mean: float
    standard: Mapping[PartName, float]
    factor: float | None

    @property
    def half(self) -> float | None:
        """Half-width of the 95% interval."""
        return None if self.factor is None else self.factor * math.hypot(*self.standard.values())

    def part(self, name: PartName) -> float | None:
        """What a part contributes to `half`; the contributions add up as squares."""
        if self.factor is None or name not in self.standard:
            return None
        return self.factor * self.standard[name]


def rectangular(limit: float) -> float:
    """Standard uncertainty of an error of which only the limits ±`limit` are known (JCGM 100:2008, 4.3.7)."""
    return abs(limit) / math.sqrt(3)


def quantisation(step: float) -> float:
    """Standard uncertainty of rounding to multiples of `step` (JCGM 100:2008, F.2.2.1)."""
    return abs(step) / math.sqrt(12)


def budget(values: Sequence[float], systematic: Sequence[Mapping[PartName, float]]) -> Budget:
    """Combine one value and its systematic parts per repeat.

    The coverage factor is Student's t at the effective degrees of freedom of Welch and Satterthwaite, rounded down
    (JCGM 100:2008, G.4.1 and G.4.2); limits are taken as known, with infinite degrees of freedom (G.4.3).
    """
    count = len(values)
    mean = math.fsum(values) / count
    standard: dict[PartName, float] = {
        name: math.fsum(parts[name] for parts in systematic) / count
        for name in PARTS
        if any(name in parts for parts in systematic)
    }
    if count < 2:
        return Budget(mean, standard, None)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    standard["repeats"] = spread
    combined = math.hypot(*standard.values())
    degrees = math.inf if spread == 0 else (count - 1) * (combined / spread) ** 4
    return Budget(mean, standard, t_quantile(int(min(degrees, 1e9))))
