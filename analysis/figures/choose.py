"""Which cells a figure shows and under which names: what somebody asks for, and what is fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from analysis.figures.look import DEFAULT_LOOK, LOOKS
from analysis.figures.registry import figures
from analysis.metrics import latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.reader import Cell

INVALID = " (invalid)"
"""What follows the name of a cell that missed a validity gate."""


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Attributes:
        style: the page that figures go on, one of `style.LOOKS`.
        only: names of figures; all where it is empty.
        cells: ids of cells, or patterns of labels as in a shell; all where it is empty.
        labels: other names for cells, by id or label.
        include_invalid: whether cells that missed a validity gate are shown, and marked.
    """

    style: str = DEFAULT_LOOK
    only: Sequence[str] = ()
    cells: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    include_invalid: bool = False

    def check(self) -> None:
        """Refuse a figure or a style that there is not.

        Raises:
            RecordError: there is none of that name.
        """
        if self.style not in LOOKS:
            raise RecordError(f"no style {self.style!r} of figures; there are {', '.join(LOOKS)}")
        if unknown := [name for name in self.only if name not in figures()]:
            raise RecordError(f"no figure {unknown[0]!r}; there are {', '.join(figures())}")


@dataclass(frozen=True)
class Chosen:
    """The cells to show, those that were asked for and are not fit to be shown, and a note that names these."""

    shown: list[Measured]
    refused: list[Measured]
    note: str


def chosen(measured: Sequence[Measured], query: Query) -> Chosen:
    """The cells that a figure may show, under the names that they have there.

    Raises:
        RecordError: no cell fits a pattern, or is called what another name is wanted for.
    """
    wanted = {id(cell) for cell in selected([one.cell for one in measured], query.cells)}
    titles = _titles([one.cell for one in measured], query.labels)
    renamed = [_titled(one, titles) for one in measured]
    shown: list[Measured] = []
    refused: list[Measured] = []
    for one in renamed:
        if id(one.cell) in wanted:
            (shown if _fit(one, query.include_invalid) else refused).append(one)
    left_out = ", ".join(f"{one.label.removesuffix(INVALID)} ({one.verdict})" for one in refused)
    return Chosen(shown, refused, f"Left out: {left_out}." if left_out else "")


def selected(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """The cells that any of the patterns fits, in their own order; all where there are none.

    Raises:
        RecordError: a pattern fits no cell.
    """
    fits = [{id(cell) for cell in cells if _fits(cell, pattern)} for pattern in patterns]
    for pattern, found in zip(patterns, fits, strict=True):
        if not found:
            labels = "; ".join(cell.manifest.label for cell in cells)
            raise RecordError(f"no cell has the id {pattern!r} or a label like it; there are: {labels}")
    return [cell for cell in cells if not patterns or any(id(cell) in found for found in fits)]


def _fits(cell: Cell, pattern: str) -> bool:
    return cell.manifest.cell == pattern or cell.manifest.label == pattern or fnmatchcase(cell.manifest.label, pattern)


def _fit(one: Measured, include_invalid: bool) -> bool:
    wanted = include_invalid and one.valid is False and not one.cell.damage and one.get(latency.METRIC) is not None
    return bool(one.valid) or wanted


def _titles(cells: Sequence[Cell], labels: Mapping[str, str]) -> dict[int, str]:
    titles = {}
    for old, new in labels.items():
        named = [cell for cell in cells if old in (cell.manifest.cell, cell.manifest.label)]
        if not named:
            known = "; ".join(cell.manifest.label for cell in cells)
            raise RecordError(f"no cell has the id or the label {old!r}; there are: {known}")
        titles.update({id(cell): new for cell in named})
    return titles


def _titled(one: Measured, titles: Mapping[int, str]) -> Measured:
    """The cell under its name in figures; one that is invalid says so in it."""
    title = titles.get(id(one.cell), one.cell.manifest.label)
    if one.valid is False:
        title += INVALID
    baseline = one.baseline
    if baseline is not None and baseline is not one:
        baseline = _titled(replace(baseline, baseline=None), titles)
    return replace(one, title=title, baseline=baseline)
