"""Every metric, in the order of their columns. To add one is to add a file and a line here, or an entry point.

A package of its own adds one through the entry point group `testbed.metrics`; its columns follow the testbed's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from analysis.metrics import (
    accuracy,
    accuracy_drop,
    cloud_energy,
    code_bits,
    compression,
    energy,
    energy_saving,
    energy_source,
    latency,
    latency_speedup,
    mean_exit,
    op_count,
    reduction,
    stages,
    traffic,
)
from analysis.metrics.measured import Measured, measure_with
from analysis.metrics.metric import Metric
from devices.base.plugins import with_plugins
from testbed.errors import RecordError
from testbed.record.reader import Cell

_IN_ORDER: tuple[Metric[Any], ...] = (
    accuracy.METRIC,
    accuracy_drop.METRIC,
    latency.METRIC,
    latency_speedup.METRIC,
    stages.METRIC,
    energy.METRIC,
    energy_saving.METRIC,
    energy_source.METRIC,
    cloud_energy.METRIC,
    op_count.METRIC,
    compression.METRIC,
    traffic.METRIC,
    code_bits.METRIC,
    reduction.METRIC,
    mean_exit.METRIC,
)
FIRST, LAST = ("cell", "label", "mode"), ("valid", "reasons")
"""The columns of `summary.csv` that are no metric's: what names a cell, and its verdict."""

METRICS: dict[str, Metric[Any]] = {metric.name: metric for metric in _IN_ORDER}


def metrics() -> list[Metric[Any]]:
    """The testbed's metrics and those of installed packages.

    Raises:
        TestbedError: a package's metric cannot be loaded, is none, or takes a name that another has.
    """
    every = with_plugins("testbed.metrics", METRICS)
    for name, metric in every.items():
        if not isinstance(metric, Metric) or metric.name != name:
            raise RecordError(f"entry point {name!r} of testbed.metrics is no metric of that name; name its Metric")
    names = Counter((*FIRST, *LAST, *(column.name for metric in every.values() for column in metric.columns)))
    if twice := [name for name, count in names.items() if count > 1]:
        raise RecordError(f"two metrics have a column {twice[0]!r}; rename it in the package that adds it")
    return list(every.values())


def measure(cells: Sequence[Cell]) -> list[Measured]:
    """All metrics of all cells, each once. A hole in one cell's record is that cell's problem alone."""
    return measure_with(metrics(), cells)
