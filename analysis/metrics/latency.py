"""Percentiles of end-to-end latency over all repeats' answered requests, by the edge's clock.

Linear between ranks; each repeat counts alike, and in it each sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.stats import Interval, over_repeats
from analysis.texts import plus_minus_or_why, significant


@dataclass(frozen=True)
class Latency:
    """Percentiles of all repeats' requests together, ms, and the median of each repeat."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    p50_per_repeat_ms: Mapping[int, float]

    @property
    def p50(self) -> Interval:
        """Mean of the repeats' own medians, and its interval."""
        return over_repeats(list(self.p50_per_repeat_ms.values()))


def latency(one: Measured) -> Latency:
    """Percentiles of the latency of answered requests."""
    alike, took_ms = Alike(one.answered), one.answered["latency_ms"].to_numpy()
    p50, p95, p99 = alike.percentiles(took_ms, [50, 95, 99])
    return Latency(p50, p95, p99, alike.percentiles_per_repeat(took_ms, 50))


def _details(found: Latency) -> list[Line]:
    p50 = plus_minus_or_why(found.p50.mean, found.p50.half)
    return [
        ("latency p50, repeat by repeat", f"{p50} ms"),
        ("latency p99", f"{significant(found.p99_ms)} ms"),
    ]


METRIC = Metric(
    name="latency",
    term="p50, p95",
    doc=__doc__,
    of=latency,
    columns=(
        Column("latency_p50_ms", "ms", lambda found: found.p50_ms),
        Column("latency_p95_ms", "ms", lambda found: found.p95_ms),
        Column("latency_p99_ms", "ms", lambda found: found.p99_ms),
    ),
    headings=(
        Heading("p50 [ms]", lambda found: significant(found.p50_ms)),
        Heading("p95 [ms]", lambda found: significant(found.p95_ms)),
    ),
    details=_details,
)
