"""Accuracy of the baseline less that of the cell, in points. The baseline is edge-only without exit.

100 · (baseline − cell). Its 95% interval is the wider of two. One is Student's over the differences of the repeats,
each with the baseline's same repeat. The other is Student's over the differences of the distinct samples, each with
itself in the same repeats. Where every repeat asks for all samples, the repeats agree to the digit. Yet other samples
would give another drop.
"""

from __future__ import annotations

from analysis.alike import PerSample
from analysis.metrics import accuracy
from analysis.metrics.comparison import (
    Compared,
    around,
    compared_columns,
    compared_line,
    compared_text,
    paired,
)
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.stats import over_repeats
from analysis.texts import number


def accuracy_drop(one: Measured) -> Compared | None:
    """Points of accuracy below the baseline; None where there is none to compare with."""
    own, baseline = one.get(accuracy.METRIC), one.baseline.get(accuracy.METRIC) if one.baseline else None
    if own is None or baseline is None:
        return None
    drop = 100 * (baseline.fraction - own.fraction)
    found = paired(drop, own.per_repeat, baseline.per_repeat, _points)
    half = _over_samples(own.per_sample, baseline.per_sample)
    return found if found.half is None or half is None or half <= found.half else around(drop, half)


def _points(mine: float, theirs: float) -> float:
    return 100 * (theirs - mine)


def _over_samples(own: PerSample, baseline: PerSample) -> float | None:
    """Half-width of the interval of the mean over distinct samples, each by its mean difference over repeats."""
    points = 100 * baseline.less(own)
    return over_repeats(points.tolist()).half if len(points) else None


METRIC = Metric(
    name="accuracy_drop",
    term="drop",
    doc=__doc__,
    of=accuracy_drop,
    needs=(accuracy.METRIC,),
    compares=True,
    columns=compared_columns("accuracy_drop_points", "points"),
    headings=(Heading("drop [points]", lambda found: compared_text(found, lambda value: number(value, 2))),),
    details=lambda found: compared_line("drop", found, lambda value: f"{number(value, 2)} points"),
)
