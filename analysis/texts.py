"""Numbers as people read them: in tables, in the report and in figures."""

from __future__ import annotations

import math
from typing import TypeAlias

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""A table as plain data: headers, and rows of texts."""

_MOST_DIGITS = 6


def number(value: float | None, digits: int) -> str:
    """Fixed digits after the point; blank for None; never a negative zero."""
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def significant(value: float | None) -> str:
    """Three significant digits or all digits before the point; blank for None."""
    return "" if value is None else number(value, _digits(value))


def plus_minus(mean: float, half: float | None) -> str:
    """A mean and its half-width to the same digits: three of the mean, one of the half-width at least."""
    if half is None:
        return significant(mean)
    places = digits(mean, half)
    return f"{number(mean, places)} ± {number(half, places)}"


def digits(mean: float, half: float | None) -> int:
    """Digits after the point for a mean and its half-width: three of the mean, one of the half-width at least."""
    wanted = 0 if half is None or half <= 0 else math.ceil(-math.log10(half))
    # Below a millionth there is nothing but rounding.
    return max(_digits(mean), wanted if wanted <= _MOST_DIGITS else 0)


def plus_minus_or_why(mean: float, half: float | None) -> str:
    """As `plus_minus`, with a word where there is no interval."""
    return plus_minus(mean, half) + (" (one repeat, no interval)" if half is None else "")


def times(value: float | None) -> str:
    """A factor with its sign; blank for None."""
    return "" if value is None else f"{significant(value)}×"


def _digits(value: float) -> int:
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
