"""Everything that is made of an experiment's results, from one measuring of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.choose import Query
from analysis.figures.drawing import draw_or_why, save
from analysis.metrics.measured import Measured
from analysis.metrics.registry import measure
from analysis.report import write_report
from analysis.summary import write_summary
from analysis.tables import table, write_tables
from analysis.texts import Table
from testbed.record.reader import Cell


@dataclass(frozen=True)
class Published:
    """What was made: the measured cells, the main table, and where the files lie."""

    measured: list[Measured]
    table: Table
    summary: Path
    tables: list[Path]
    figures: list[Path]
    report: Path


def publish(folder: Path, cells: Sequence[Cell], include_invalid: bool = False) -> Published:
    """Write summary, tables, figures and report of cells into their experiment's results.

    Where no figure can be drawn, as nothing is valid, the report says why.

    Args:
        folder: the experiment's results.
        cells: its cells.
        include_invalid: whether figures show cells that missed a validity gate.

    Raises:
        RecordError: there are no cells.
    """
    measured = measure(cells)
    drawings, no_figures = draw_or_why(measured, Query(include_invalid=include_invalid))
    return Published(
        measured=measured,
        table=table(measured),
        summary=write_summary(folder, measured),
        tables=write_tables(folder, measured),
        figures=save(folder, drawings, ["svg"]),
        report=write_report(folder, measured, drawings, no_figures),
    )
