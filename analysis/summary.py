"""`summary.csv`: a row per cell, what names the cell, its factors, the columns of all metrics, and the verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.factors import Field, factors_of
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Metric
from analysis.metrics.registry import FIRST, LAST, metrics
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically


def summary_columns(every: Iterable[Metric[Any]]) -> list[str]:
    """The columns of the file, in their order."""
    return [*FIRST, *(column.name for metric in every for column in metric.columns), *LAST]


def summary_row(one: Measured, every: Sequence[Metric[Any]]) -> dict[str, Field]:
    """The row of one cell. One that is not complete has its state in `reasons` and no numbers."""
    manifest = one.cell.manifest
    row: dict[str, Field] = {"cell": manifest.cell, "label": one.label, **factors_of(manifest)}
    for metric in every:
        value = one.get(metric)
        row |= {column.name: None if value is None else column.field(value) for column in metric.columns}
    baseline = None if one.baseline is None else one.baseline.cell.manifest.cell
    return row | {"compared_with": baseline, "valid": one.valid, "reasons": "; ".join(one.reasons)}


def write_summary(folder: Path, measured: Sequence[Measured]) -> Path:
    """Write `summary.csv`, a row per cell in their order; what does not apply is blank, never 0."""
    every = metrics()
    columns = summary_columns(every)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for one in measured:
        row = summary_row(one, every)
        writer.writerow([_written(row[name]) for name in columns])
    path = ExperimentFolder(folder).summary
    write_atomically(path, text.getvalue().encode())
    return path


def _written(value: Field) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
