"""Verbs over results that are there: tables, figures, the report, other exit policies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from testbed.cli.console import EXIT_FAILED, complain, console, print_rows
from testbed.cli.options import ExitAccumulate, ExitPolicy, ResultsFolder, check_exit
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from testbed.record.reader import Cell

Shown = Annotated[
    Path,
    typer.Argument(help="the results of one experiment, or a model", metavar="RESULTS/EXPERIMENT|RESULTS/models/.."),
]
IncludeInvalid = Annotated[bool, typer.Option("--include-invalid", help="draw cells that missed a validity gate")]


def show(folder: Shown) -> None:
    """Print the table of an experiment's results, or what a model artefact is."""
    from analysis.metrics.registry import measure
    from analysis.model import describe_model
    from analysis.tables import table
    from testbed.runtime.artefact import CARD_NAME, load_card

    if (folder / CARD_NAME).exists():
        for headers, rows in describe_model(load_card(folder)):
            print_rows(headers, rows)
    else:
        with _cells(folder) as cells:
            print_rows(*table(measure(cells)))


def figures(folder: ResultsFolder, include_invalid: IncludeInvalid = False) -> None:
    """Draw the figures of an experiment's results."""
    from analysis.figures.drawing import draw, save
    from analysis.metrics.registry import measure

    with _cells(folder) as cells:
        for path in save(folder, draw(measure(cells), include_invalid)):
            console.print(str(path), highlight=False)


def tables(folder: ResultsFolder) -> None:
    """Write summary.csv, and the table as Markdown and LaTeX."""
    from analysis.metrics.registry import measure
    from analysis.summary import write_summary
    from analysis.tables import write_tables

    with _cells(folder) as cells:
        measured = measure(cells)
        for path in (write_summary(folder, measured), *write_tables(folder, measured)):
            console.print(str(path), highlight=False)


def report(folder: ResultsFolder) -> None:
    """Write report.html: one file with tables, figures, and how sure they are."""
    from analysis.figures.drawing import draw_or_why
    from analysis.metrics.registry import measure
    from analysis.report import write_report

    with _cells(folder) as cells:
        measured = measure(cells)
        console.print(str(write_report(folder, measured, *draw_or_why(measured))), highlight=False)


def replay(
    folder: Annotated[Path, typer.Argument(help="a cell measured without exit", metavar="RESULTS/EXPERIMENT/CELL")],
    threshold: Annotated[
        list[str],
        typer.Option(
            "--threshold", help="α, or one for each timestep but the last as 0.99,0.9,0.8; may be given several times"
        ),
    ],
    policy: ExitPolicy = "max_softmax",
    accumulate: ExitAccumulate = "mean",
) -> None:
    """Apply an exit policy to recorded timesteps, without hardware."""
    from analysis.replay import replay as run_replay
    from testbed.record.reader import read_cell

    check_exit(policy, accumulate)
    alphas = [_alphas(text) for text in threshold]
    outcome = run_replay(read_cell(folder), policy, accumulate, alphas)  # type: ignore[arg-type]
    table = Table("threshold", "accuracy", "mean exit timestep", box=None)
    for text, row in zip(threshold, outcome.itertuples(), strict=True):
        table.add_row(text, f"{row.accuracy:.4f}", f"{row.mean_exit_timestep:.2f}")
    console.print(table)


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
    yield cells
    if damaged:
        raise typer.Exit(EXIT_FAILED)


def _alphas(text: str) -> float | list[float]:
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise TestbedError(f"--threshold {text}: expected a number, or numbers as 0.99,0.9,0.8") from error
    return values if "," in text else values[0]
