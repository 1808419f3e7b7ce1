"""Every metric, in the order of their columns. To add one is to add a file and a line here, or an entry point.

A package of its own adds one through the entry point group `testbed.metrics`; its columns follow the testbed's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from analysis.factors import FACTORS
from analysis.metrics import (
    accuracy,
    accuracy_drop,
    cloud_energy,
    cloud_energy_source,
    code_bits,
    compression,
    edge_share,
    energy,
    energy_delay,
    energy_net_saving,
    energy_saving,
    energy_source,
    latency,
    latency_speedup,
    mean_exit,
    mlperf,
    op_count,
    queue,
    reduction,
    stages,
    throughput,
    traffic,
    waste,
)
from analysis.metrics.measured import Measured, measure_with
from analysis.metrics.metric import Metric
from devices.base.plugins import called, with_plugins
from testbed.errors import RecordError
from testbed.record.reader import Cell

_IN_ORDER: tuple[Metric[Any], ...] = (
    accuracy.METRIC,
    accuracy_drop.METRIC,
    latency.METRIC,
    latency_speedup.METRIC,
    throughput.METRIC,
    queue.METRIC,
    mlperf.METRIC,
    stages.METRIC,
    energy.METRIC,
    energy_saving.METRIC,
    energy_net_saving.METRIC,
    energy_source.METRIC,
    energy_delay.METRIC,
    cloud_energy.METRIC,
    cloud_energy_source.METRIC,
    op_count.METRIC,
    compression.METRIC,
    traffic.METRIC,
    code_bits.METRIC,
    reduction.METRIC,
    waste.METRIC,
    mean_exit.METRIC,
    edge_share.METRIC,
)
FIRST = ("cell", "label", *(factor.name for factor in FACTORS))
LAST = ("compared_with", "valid", "reasons")
"""The columns of `summary.csv` that are no metric's: what names a cell, its factors, its baseline and its verdict."""

GROUP = "testbed.metrics"
METRICS: dict[str, Metric[Any]] = {metric.name: metric for metric in _IN_ORDER}


def metrics() -> list[Metric[Any]]:
    """The testbed's metrics and those of packages and files.

    Raises:
        TestbedError: an added metric cannot be loaded, is none, or takes a name that another has.
    """
    every = with_plugins(GROUP, METRICS)
    for name, metric in every.items():
        if not isinstance(metric, Metric) or metric.name != name:
            raise RecordError(f"{called(GROUP, name)} is no metric of that name; name its Metric")
    names = Counter((*FIRST, *LAST, *(column.name for metric in every.values() for column in metric.columns)))
    if twice := [name for name, count in names.items() if count > 1]:
        raise RecordError(f"two metrics have a column {twice[0]!r}; rename it where it is added")
    return list(every.values())


def measure(cells: Sequence[Cell]) -> list[Measured]:
    """All metrics of all cells, each once. A hole in one cell's record is that cell's problem alone."""
    return measure_with(metrics(), cells)
