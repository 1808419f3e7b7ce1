"""The table of cells: an overview of few columns, and groups of all of them to open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Metric
from analysis.tables import is_shown, text_of

MORE = "more"
GROUPS: dict[str, tuple[str, ...]] = {
    "accuracy and exits": ("accuracy", "accuracy_drop", "mean_exit", "edge_share"),
    "latency": ("latency", "latency_speedup"),
    "load": ("throughput", "queue", "mlperf"),
    "energy": (
        "energy",
        "energy_saving",
        "energy_net_saving",
        "cloud_energy",
        "cloud_energy_source",
        "energy_delay",
        "op_count",
    ),
    "data": ("traffic", "reduction", "code_bits", "waste"),
    MORE: (),
}
"""The groups of columns and their metrics; a metric of another package is in the last."""

_OVERVIEW = {
    "accuracy", "accuracy_drop", "mean_exit", "latency_speedup", "energy_saving", "energy_net_saving",
}  # fmt: skip
_FIRST = {"latency", "traffic"}
"""Metrics whose columns are in the overview, or of which the first is."""


@dataclass(frozen=True)
class ResultColumn:
    """A column: its header, the metric that defines it, the id of its group, and whether the overview has it too."""

    header: str
    metric: str
    group: str
    overview: bool


@dataclass(frozen=True)
class ResultRow:
    """A cell of the campaign and its texts, one for each column."""

    one: Measured
    texts: list[str]


@dataclass(frozen=True)
class Results:
    """The table, and the groups that can be opened beside the overview, by name, with an id each."""

    columns: list[ResultColumn]
    rows: list[ResultRow]
    groups: dict[str, str]


def results(measured: Sequence[Measured], every: Sequence[Metric[Any]]) -> Results:
    """The headings of all metrics that say something of some cell, in the order of their groups."""
    columns: list[ResultColumn] = []
    texts: list[list[str]] = [[] for _ in measured]
    known = {name: group for group, names in GROUPS.items() for name in names}
    for group in GROUPS:
        for metric in (metric for metric in every if known.get(metric.name, MORE) == group):
            for number, heading in enumerate(metric.headings):
                found = [text_of(one, metric, heading) for one in measured]
                if not any(found) or not is_shown(measured, metric, heading):
                    continue
                overview = metric.name in _OVERVIEW or (metric.name in _FIRST and number == 0)
                columns.append(ResultColumn(heading.header, metric.name, _id(group), overview))
                for row, text in zip(texts, found, strict=True):
                    row.append(text)
    there = {column.group for column in columns}
    opened = {group: _id(group) for group in GROUPS if _id(group) in there}
    return Results(columns, [ResultRow(one, row) for one, row in zip(measured, texts, strict=True)], opened)


def _id(group: str) -> str:
    return group.split()[0]
