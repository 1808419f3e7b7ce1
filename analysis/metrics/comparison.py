"""A number against the baseline's, with a 95% interval that is paired within repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.metrics.metric import Column, Line
from analysis.stats import over_repeats
from analysis.texts import plus_minus

NOT_RESOLVED = "not resolved"
"""Said of a comparison whose interval includes no difference."""


@dataclass(frozen=True)
class Compared:
    """A comparison and the ends of its 95% interval; both are None where fewer than two repeats can be paired.

    `none` is what the comparison is where there is no difference: 0, or 1 for a ratio.
    """

    value: float
    low: float | None
    high: float | None
    none: float = 0.0

    @property
    def half(self) -> float | None:
        """Half-width of the interval."""
        return None if self.high is None else self.high - self.value

    @property
    def resolved(self) -> bool | None:
        """Whether the interval leaves no difference outside; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= self.none <= self.high

    @property
    def same(self) -> bool:
        """Whether every repeat has the same number in both, such as the baseline against itself."""
        return self.value == self.low == self.high == self.none


def paired(
    value: float,
    own: Mapping[int, float],
    baseline: Mapping[int, float],
    compare: Callable[[float, float], float],
    *,
    none: float = 0.0,
) -> Compared:
    """The comparison `value` with its interval.

    Both cells are measured in each repeat, close in time and on the same samples, so what the repeats differ in
    touches both and mostly cancels. The interval is `value` ± t·s/√n: s is the standard deviation over the n repeats
    of each one's own comparison, t Student's at n − 1 degrees of freedom.

    Args:
        value: the comparison over all repeats.
        own: the cell's number in each repeat.
        baseline: the baseline's.
        compare: a repeat's comparison from its two numbers, the cell's first.
        none: what the comparison is where there is no difference.
    """
    both = sorted(own.keys() & baseline.keys())
    half = over_repeats([compare(own[repeat], baseline[repeat]) for repeat in both]).half if both else None
    return around(value, half, none)


def around(value: float, half: float | None, none: float = 0.0) -> Compared:
    """A comparison with an interval of this half-width."""
    return Compared(value, None, None, none) if half is None else Compared(value, value - half, value + half, none)


def compared_text(found: Compared, text: Callable[[float], str]) -> str:
    """What the tables say: the comparison ± its half-width, and whether it is resolved; `text` where none is due."""
    if found.half is None or found.same:
        return text(found.value)
    return plus_minus(found.value, found.half) + ("" if found.resolved else f", {NOT_RESOLVED}")


def compared_line(what: str, found: Compared, text: Callable[[float], str]) -> list[Line]:
    """What the report says of a comparison that has an interval."""
    if found.low is None or found.high is None:
        return []
    doubt = "" if found.resolved or found.same else f", {NOT_RESOLVED}"
    return [(f"{what}, with interval", f"{text(found.value)} ({text(found.low)} to {text(found.high)}){doubt}")]


def compared_columns(name: str, unit: str) -> tuple[Column[Compared], ...]:
    """The columns of a comparison: the number, and the ends of its interval in `…_lo` and `…_hi`."""
    return (
        Column(name, unit, lambda found: found.value),
        Column(f"{name}_lo", unit, lambda found: found.low),
        Column(f"{name}_hi", unit, lambda found: found.high),
    )
