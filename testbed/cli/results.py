"""Verbs over results that are there: tables, figures, the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.base.plugins import files
from testbed.cli.console import EXIT_FAILED, complain, console, note, print_document, print_rows
from testbed.cli.options import AsJson, Plugins, ResultsFolder
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from analysis.metrics.measured import Measured
    from testbed.record.reader import Cell

Shown = Annotated[
    Path,
    typer.Argument(help="the results of one experiment, or a model", metavar="RESULTS/EXPERIMENT|RESULTS/models/.."),
]
IncludeInvalid = Annotated[bool, typer.Option("--include-invalid", help="draw cells that missed a validity gate")]


def show(folder: Shown, plugins: Plugins = None, as_json: AsJson = False) -> None:
    """Print the table of an experiment's results, or what a model artefact is."""
    from analysis.metrics.registry import measure
    from analysis.model import describe_model
    from analysis.tables import table
    from testbed.runtime.artefact import CARD_NAME, load_card

    if as_json:
        _show_document(folder)
    elif (folder / CARD_NAME).exists():
        for headers, rows in describe_model(load_card(folder)):
            print_rows(headers, rows)
    else:
        with _cells(folder) as cells:
            measured = measure(cells)
            print_rows(*table(measured))
            print_headline(measured)


def print_headline(measured: Sequence[Measured]) -> None:
    """The paper's claims beside the numbers of a campaign, and what it can resolve; nothing where no cell stands."""
    from analysis.headline import headlines
    from analysis.headline_table import cells_and_resolution, headline_table

    if found := headlines(measured):
        console.print()
        print_rows(*headline_table(found))
        for line in cells_and_resolution(found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _show_document(folder: Path) -> None:
    from msgspec import to_builtins

    from analysis.headline import headlines
    from analysis.headline_table import headline_document
    from analysis.metrics.registry import measure, metrics
    from analysis.summary import summary_row
    from testbed.runtime.artefact import CARD_NAME, load_card

    if (folder / CARD_NAME).exists():
        print_document({"model": to_builtins(load_card(folder))})
    else:
        with _cells(folder) as cells:
            measured = measure(cells)
            rows = [summary_row(one, metrics()) for one in measured]
            print_document({"cells": rows, "headline": headline_document(headlines(measured))})


def figures(
    folder: ResultsFolder,
    style: Annotated[str, typer.Option("--style", help="ieee, ieee-wide, acm or slide")] = "ieee-wide",
    only: Annotated[str, typer.Option("--only", metavar="NAME,...", help="draw these figures alone")] = "",
    cells: Annotated[
        list[str] | None,
        typer.Option("--cells", metavar="ID|PATTERN", help="show these cells alone, by id or by label as in a shell"),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="ID|LABEL=NAME", help="call a cell so in the figures"),
    ] = None,
    include_invalid: IncludeInvalid = False,
    plugins: Plugins = None,
    check: Annotated[
        bool, typer.Option("--check", help="draw nothing; say which figures no longer follow from the results")
    ] = False,
) -> None:
    """Draw the figures of an experiment's results, or of models that `testbed evaluate --out` has been run on."""
    from analysis.curves import EVALUATED
    from analysis.figures.choose import Query
    from analysis.figures.drawing import draw, save
    from analysis.figures.of_models import publish_models
    from analysis.metrics.registry import measure

    if (folder / EVALUATED).exists():
        if only or cells or labels or include_invalid or check:
            raise TestbedError(f"{folder}: evaluated models have one figure and no cells; leave all but --style out")
        for path in publish_models(folder, style):
            console.print(str(path), highlight=False, soft_wrap=True)
        return
    if check:
        _check_figures(folder)
        return
    query = Query(
        style=style,
        only=[name.strip() for name in only.split(",") if name.strip()],
        cells=cells or [],
        labels=dict(_renamed(text) for text in labels or []),
        include_invalid=include_invalid,
    )
    query.check()
    with _cells(folder) as found:
        for path in save(folder, draw(measure(found), query)):
            console.print(str(path), highlight=False, soft_wrap=True)


def _check_figures(folder: Path) -> None:
    from analysis.figures.sidecar import check

    found = check(folder)
    for path, reasons in found.items():
        for reason in reasons:
            complain(f"{path}: {reason}", style="red")
    stale = sum(bool(reasons) for reasons in found.values())
    console.print(f"{len(found) - stale} of {len(found)} figures follow from the results.", highlight=False)
    if stale:
        complain("testbed figures draws them again", style="red")
        raise typer.Exit(EXIT_FAILED)


def _renamed(text: str) -> tuple[str, str]:
    old, equals, new = text.rpartition("=")
    if not equals or not old or not new:
        raise TestbedError(f"--labels {text}: expected a cell's id or label, =, and what to call it")
    return old, new


def tables(folder: ResultsFolder, plugins: Plugins = None) -> None:
    """Write summary.csv, the headline beside the paper's claims, and the tables, as Markdown and LaTeX."""
    from analysis.metrics.registry import measure
    from analysis.summary import write_summary
    from analysis.tables import write_tables

    with _cells(folder) as cells:
        measured = measure(cells)
        for path in (write_summary(folder, measured), *write_tables(folder, measured)):
            console.print(str(path), highlight=False)


def report(folder: ResultsFolder, plugins: Plugins = None) -> None:
    """Write report.html: one file with tables, figures, and how sure they are."""
    from analysis.figures.drawing import draw_or_why
    from analysis.metrics.registry import measure
    from analysis.report import write_report

    with _cells(folder) as cells:
        measured = measure(cells)
        console.print(str(write_report(folder, measured, *draw_or_why(measured))), highlight=False)


@contextlib.contextmanager
def _cells(folder: Path) -> Iterator[list[Cell]]:
    """The cells of an experiment; what of them is missing or torn is said first, and is a failure in the end."""
    from testbed.record.reader import read_campaign

    damaged: list[str] = []
    try:
        cells = read_campaign(folder, damaged.append)
    finally:
        for line in damaged:
            complain(line, style="red")
    lacking = {name for cell in cells for name in cell.manifest.code.plugins} - {path.name for path in files()}
    if lacking:
        note(f"Measured with {', '.join(sorted(lacking))}: --plugin FILE.py brings what such a file adds here.")
    yield cells
    if damaged:
        raise typer.Exit(EXIT_FAILED)
