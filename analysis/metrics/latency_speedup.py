"""Median latency of the baseline over that of the cell.

Its 95% interval is Student's over the ratios of the repeats' medians, each with the baseline's same repeat.
"""

from __future__ import annotations

from analysis.metrics import latency
from analysis.metrics.comparison import Compared, compared_columns, compared_line, compared_text, paired
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.texts import significant, times


def latency_speedup(one: Measured) -> Compared | None:
    """How many times faster than the baseline; None where there is none to compare with."""
    own, baseline = one.get(latency.METRIC), one.baseline.get(latency.METRIC) if one.baseline else None
    if own is None or baseline is None:
        return None
    medians, theirs = own.p50_per_repeat_ms, baseline.p50_per_repeat_ms
    return paired(baseline.p50_ms / own.p50_ms, medians, theirs, lambda mine, other: other / mine, none=1.0)


METRIC = Metric(
    name="latency_speedup",
    term="speed-up",
    doc=__doc__,
    of=latency_speedup,
    needs=(latency.METRIC,),
    compares=True,
    columns=compared_columns("latency_speedup", "×"),
    headings=(Heading("speed-up of median [×]", lambda found: compared_text(found, significant)),),
    details=lambda found: compared_line("speed-up", found, times),
)
