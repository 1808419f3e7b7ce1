"""Median, percentiles and mean of end-to-end latency over all repeats' answered requests, by the edge's clock.

Latency runs from a request's arrival, so waiting for its turn is in it. p50 is the median. Percentiles are linear
between ranks; each repeat counts alike, and in it each sample. The intervals (95%, half-widths) are Student's over
the repeats' own percentiles and means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.stats import Interval, over_repeats
from analysis.texts import plus_minus_or_why, significant


@dataclass(frozen=True)
class Latency:
    """Percentiles and mean of all repeats' requests together, ms, and some of them of each repeat."""

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    p50_per_repeat_ms: Mapping[int, float]
    p90_per_repeat_ms: Mapping[int, float]
    p99_per_repeat_ms: Mapping[int, float]
    mean_per_repeat_ms: Mapping[int, float]

    @property
    def p50(self) -> Interval:
        """Mean of the repeats' own medians, and its interval."""
        return over_repeats(list(self.p50_per_repeat_ms.values()))

    @property
    def p90(self) -> Interval:
        """Mean of the repeats' own 90th percentiles, and its interval."""
        return over_repeats(list(self.p90_per_repeat_ms.values()))

    @property
    def p99(self) -> Interval:
        """Mean of the repeats' own 99th percentiles, and its interval."""
        return over_repeats(list(self.p99_per_repeat_ms.values()))

    @property
    def mean(self) -> Interval:
        """Mean of the repeats' own means, and its interval."""
        return over_repeats(list(self.mean_per_repeat_ms.values()))


def latency(one: Measured) -> Latency:
    """Percentiles of the latency of answered requests."""
    alike, took_ms = one.alike_answered, one.answered["latency_ms"].to_numpy()
    p50, p90, p95, p99 = alike.percentiles(took_ms, [50, 90, 95, 99])
    each = {percent: alike.percentiles_per_repeat(took_ms, percent) for percent in (50, 90, 99)}
    mean, means = alike.mean(took_ms), alike.per_repeat(took_ms)
    return Latency(p50, p90, p95, p99, mean, each[50], each[90], each[99], means)


def is_a_result(one: Measured) -> bool:
    """Whether a cell's latency says how long a request takes, and not, as in `offline`, how many there were at once."""
    return one.cell.manifest.config.scenario.kind != "offline"


def _details(found: Latency) -> list[Line]:
    p50 = plus_minus_or_why(found.p50.mean, found.p50.half)
    mean = plus_minus_or_why(found.mean.mean, found.mean.half)
    return [
        ("median latency, mean over repeats", f"{p50} ms"),
        ("mean latency", f"{mean} ms"),
        ("latency p99", f"{significant(found.p99_ms)} ms"),
    ]


METRIC = Metric(
    name="latency",
    term="median, p95",
    doc=__doc__,
    of=latency,
    columns=(
        Column("latency_p50_ms", "ms", lambda found: found.p50_ms),
        Column("latency_p50_ms_ci95", "ms", lambda found: found.p50.half),
        Column("latency_p90_ms", "ms", lambda found: found.p90_ms),
        Column("latency_p90_ms_ci95", "ms", lambda found: found.p90.half),
        Column("latency_p95_ms", "ms", lambda found: found.p95_ms),
        Column("latency_p99_ms", "ms", lambda found: found.p99_ms),
        Column("latency_p99_ms_ci95", "ms", lambda found: found.p99.half),
        Column("latency_mean_ms", "ms", lambda found: found.mean_ms),
        Column("latency_mean_ms_ci95", "ms", lambda found: found.mean.half),
    ),
    headings=(
        Heading("median [ms]", lambda found: significant(found.p50_ms)),
        Heading("p95 [ms]", lambda found: significant(found.p95_ms)),
    ),
    details=_details,
)
