"""The verb that says what a run would do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from testbed.cli.console import EXIT_FAILED, complain, console, print_document, print_rows
from testbed.cli.options import AsJson, Cloud, Data, Edge, ExperimentFiles, Results, Set
from testbed.cli.progress import in_words
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from testbed.campaign.outlook import Outlook


def plan(
    experiments: ExperimentFiles,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show the cells of experiments, what is there of them, and about how long the rest takes; computes nothing."""
    from testbed.campaign.outlook import look_ahead

    found: dict[str, Outlook] = {}
    changes, files = tuple(overrides or ()), {str(path) for path in experiments}
    for path in experiments:
        try:
            outlook = look_ahead(path, results, overrides=changes, edge=edge, cloud=cloud, data=data)
        except TestbedError as error:
            complain(str(error), style="red")
            continue
        command = as_run(sys.argv[1:], files - {str(path)})
        found[command] = outlook
        if not as_json:
            _print(outlook, command, of_several=len(files) > 1)
    seconds = sum(outlook.seconds for outlook in found.values())
    if as_json:
        plans = [outlook.document(command) for command, outlook in found.items()]
        print_document({"plans": plans, "seconds_left": seconds})
    elif len(found) > 1:
        _say(f"All {len(found)} experiments: about {in_words(seconds)}")
    if len(found) < len(files):
        raise typer.Exit(EXIT_FAILED)


def as_run(argv: Sequence[str], without: Collection[str] = ()) -> str:
    """The `testbed run` that the arguments of a `testbed plan` are about, without the files of other experiments."""
    left_out = {"--json", "--quiet", *without}
    return shlex.join(["testbed", "run", *(word for word in argv[1:] if word not in left_out)])


def _print(outlook: Outlook, command: str, *, of_several: bool) -> None:
    if of_several:
        console.rule(outlook.folder.path.name, align="left")
    rows = []
    for cell in outlook.cells:
        done = f"{cell.done} of {outlook.repeats}" if cell.cell else ""
        rows.append([cell.label, cell.cell or "?", cell.model, done, f"{cell.repeat.seconds:.1f}", cell.repeat.basis])
    print_rows(["what", "cell", "model", "measured", "repeat [s]", "as timed by"], rows)
    parts = (_besides(outlook), _not_known(outlook), _missing(outlook), would_do(outlook, command), _how_long(outlook))
    for line in chain.from_iterable(parts):
        _say(line)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _besides(outlook: Outlook) -> Iterator[str]:
    """What is measured and not asked for, and what is asked for and not measured."""
    for cell in outlook.cells[: outlook.added]:
        yield f"added: {cell.label}, which others are compared with and the file does not have (baselines: false: none)"
    if outlook.replayed:
        yield f"{outlook.replayed} exits are not measured: they are replayed from cells without exit, into replay.csv"


def _not_known(outlook: Outlook) -> Iterator[str]:
    """Why a cell has no id yet."""
    for before in dict.fromkeys(cell.before for cell in outlook.cells if cell.cell is None):
        count = sum(cell.before == before for cell in outlook.cells if cell.cell is None)
        yield f"?: a cell is not known before {before} ({count} cell{'s' if count > 1 else ''})"


def _missing(outlook: Outlook) -> Iterator[str]:
    for lack in outlook.missing:
        time_ = "not in the time below" if lack.seconds is None else f"about {lack.seconds:.0f} s, a guess"
        yield f"missing: {lack.what}, from {lack.by} ({time_})"


def would_do(outlook: Outlook, command: str) -> Iterator[str]:
    """What each way to run this plan would do."""
    missing, of = outlook.to_do, outlook.of
    most = "" if outlook.sure else "at most "
    yield f"{most}{missing} repeats to measure, {of - missing} measured, in {outlook.folder.path}"
    if missing:
        yield f"{command}: measures {'these' if missing == of else 'the missing'} {missing} repeats"
    else:
        yield f"{command}: measures nothing; makes summary, tables, figures and report again"
    if outlook.others:
        yield f"    and first moves {outlook.others} cells of another configuration, code or device aside"
    if missing < of:
        yield f"{command} --fresh: moves everything aside and measures all {of} repeats anew"
        yield "That is for this command and this code; with another --set, --edge, --cloud or --data it may differ"


def _how_long(outlook: Outlook) -> Iterator[str]:
    """About how long it takes, and how that is known."""
    from testbed.campaign.durations import AROUND_S, REQUEST_S

    if not outlook.to_do:
        return
    bases = outlook.bases()
    yield f"About {in_words(outlook.seconds)}; repeats timed by: " + ", ".join(
        f"{basis} {count}" for basis, count in bases.items()
    )
    if "a guess" in bases:
        yield (
            f"A guess is {AROUND_S:g} s and the idle baselines around a repeat, {1000 * REQUEST_S:g} ms for a request "
            "and what the link adds; all timesteps, and no time to cool down"
        )
    if outlook.emulated:
        yield f"On top comes what emulated nodes compute ahead and have not kept: {', '.join(outlook.emulated)}"
