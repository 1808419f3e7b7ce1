"""Accuracy of the baseline less that of the cell, in points. The baseline is edge-only without exit.

100 · (baseline − cell). Its 95% interval is Student's over the differences of the repeats, each with the baseline's
same repeat.
"""

from __future__ import annotations

from analysis.metrics import accuracy
from analysis.metrics.comparison import Compared, compared_columns, compared_line, paired
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.texts import number


def accuracy_drop(one: Measured) -> Compared | None:
    """Points of accuracy below the baseline; None where there is none to compare with."""
    own, baseline = one.get(accuracy.METRIC), one.baseline.get(accuracy.METRIC) if one.baseline else None
    if own is None or baseline is None:
        return None
    drop = 100 * (baseline.fraction - own.fraction)
    return paired(drop, own.per_repeat, baseline.per_repeat, lambda mine, theirs: 100 * (theirs - mine))


METRIC = Metric(
    name="accuracy_drop",
    term="drop",
    doc=__doc__,
    of=accuracy_drop,
    needs=(accuracy.METRIC,),
    compares=True,
    columns=compared_columns("accuracy_drop_points", "points"),
    headings=(Heading("drop [points]", lambda found: number(found.value, 2)),),
    details=lambda found: compared_line("drop", found, lambda value: f"{number(value, 2)} points"),
)
