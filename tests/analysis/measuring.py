"""One metric of one cell."""

from __future__ import annotations

from typing import TypeVar

from analysis.metrics.measured import measure_with
from analysis.metrics.metric import Metric
from testbed.record.reader import Cell

V = TypeVar("V")


def value(metric: Metric[V], cell: Cell) -> V | None:
    """The value of a metric that compares nothing; what it raises where the record has holes is let through."""
    (one,) = measure_with(metric.needs, [cell])
    return metric.of(one)
