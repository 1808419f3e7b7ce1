"""A number against the baseline's, with a 95% interval that is paired within repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.metrics.metric import Column, Line
from analysis.stats import over_repeats


@dataclass(frozen=True)
class Compared:
    """A comparison and the ends of its 95% interval; both are None where fewer than two repeats can be paired."""

    value: float
    low: float | None
    high: float | None


def paired(
    value: float,
    own: Mapping[int, float],
    baseline: Mapping[int, float],
    compare: Callable[[float, float], float],
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
    """
    both = sorted(own.keys() & baseline.keys())
    half = over_repeats([compare(own[repeat], baseline[repeat]) for repeat in both]).half if both else None
    return Compared(value, None, None) if half is None else Compared(value, value - half, value + half)


def compared_line(what: str, found: Compared, text: Callable[[float], str]) -> list[Line]:
    """What the report says of a comparison that has an interval."""
    if found.low is None or found.high is None:
        return []
    return [(f"{what}, with interval", f"{text(found.value)} ({text(found.low)} to {text(found.high)})")]


def compared_columns(name: str, unit: str) -> tuple[Column[Compared], ...]:
    """The columns of a comparison: the number, and the ends of its interval in `…_lo` and `…_hi`."""
    return (
        Column(name, unit, lambda found: found.value),
        Column(f"{name}_lo", unit, lambda found: found.low),
        Column(f"{name}_hi", unit, lambda found: found.high),
    )
