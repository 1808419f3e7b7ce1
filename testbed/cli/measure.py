"""Verbs that measure: run, and what a run would do."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from testbed.cli.console import EXIT_ABORTED, EXIT_FAILED, Bars, complain, console, errors, print_rows, readable
from testbed.cli.options import Cloud, Data, Edge, ExperimentFile, Results, Set

if TYPE_CHECKING:
    from testbed.record.documents import Status


def run(
    experiment: ExperimentFile,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="measure all anew, and move what is there aside")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="measure only what is missing, as without it")] = False,
) -> None:
    """Measure what is missing of an experiment; then its summary, figures and report."""
    if fresh and resume:
        raise typer.BadParameter("--fresh measures all anew, --resume only what is missing: give one of them")
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation

    with console.status("Preparing models, data and nodes"):
        planned = make_plan(experiment, results, overrides=tuple(overrides or ()), edge=edge, cloud=cloud, data=data)
    started = time.monotonic()
    with Bars() as bars:
        campaign = Campaign(planned, bars, Invocation(argv=sys.argv[1:], file=str(experiment)))
        statuses = asyncio.run(_interruptible(campaign, fresh))
    if campaign.begun:
        console.print(f"Measured in {time.monotonic() - started:.0f} s.")
    try:
        readable(_analyse)(planned.folder.path)
    finally:
        _exit_for(statuses)


def plan(
    experiment: ExperimentFile,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Show the cells of an experiment, what is measured already and about how long the rest takes."""
    from testbed.campaign import make_plan
    from testbed.campaign.aside import others

    planned = make_plan(experiment, results, overrides=tuple(overrides or ()), edge=edge, cloud=cloud, data=data)
    repeats = planned.experiment.repeats
    table = Table("cell", "what", "model", "measured repeats", box=None)
    for cell in planned.cells:
        done = sum(repeat.record is not None for repeat in planned.repeats(cell))
        table.add_row(cell.cell, cell.label, cell.card.name, f"{done} of {repeats}")
    console.print(table)
    missing, of = len(planned.missing()), len(planned.cells) * repeats
    other = others(planned.folder, {cell.cell for cell in planned.cells})
    console.print(f"{missing} repeats to measure, {of - missing} measured, in {planned.folder.path}", soft_wrap=True)
    for line in would_do(missing, of, len(other)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    seconds = planned.seconds_per_repeat()
    if missing and seconds is not None:
        console.print(f"About {missing * seconds / 60:.1f} min left, at {seconds:.1f} s for a repeat measured so far.")


def would_do(missing: int, of: int, others: int) -> Iterator[str]:
    """What each way to run this plan would do."""
    if missing:
        yield f"testbed run: measures {'these' if missing == of else 'the missing'} {missing} repeats"
    else:
        yield "testbed run: measures nothing; makes summary, tables, figures and report again"
    if others:
        yield f"             and first moves {others} cells of another configuration, code or device aside"
    if missing < of:
        yield f"testbed run --fresh: moves everything aside and measures all {of} repeats anew"


async def _interruptible(campaign: Any, fresh: bool) -> list[Status]:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, campaign.interrupt)
    statuses: list[Status] = await campaign.run(fresh=fresh)
    return statuses


def _analyse(folder: Path) -> None:
    """Everything that is made from the results, then the table."""
    from analysis.publish import publish
    from testbed.record.reader import read_campaign

    with console.status("Drawing figures and writing the report"):
        made = publish(folder, read_campaign(folder, complain))
    print_rows(*made.table)
    console.print(f"{made.summary}  {folder / 'figures'}/  {made.report}", highlight=False, soft_wrap=True)


def _exit_for(statuses: list[Status]) -> None:
    """Exit code 0 only for what is complete and valid."""
    if all(status.state == "complete" and status.valid for status in statuses):
        return
    for status in statuses:
        for reason in status.reasons:
            errors.print(f"{status.state}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if any(status.state == "failed" for status in statuses):
        raise typer.Exit(EXIT_FAILED)
    raise typer.Exit(EXIT_ABORTED if any(status.state == "aborted" for status in statuses) else EXIT_FAILED)
