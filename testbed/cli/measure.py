"""The verb that measures."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devices.base.plugins import use_files
from testbed.cli.console import (
    EXIT_ABORTED,
    EXIT_FAILED,
    complain,
    console,
    errors,
    note,
    print_rows,
    readable,
)
from testbed.cli.options import Cloud, Data, Edge, ExperimentFiles, Results, Set
from testbed.cli.progress import campaign_progress, working
from testbed.cli.results import print_headline
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from testbed.campaign import Plan
    from testbed.record.documents import Status


def run(
    experiments: ExperimentFiles,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="measure all anew, and move what is there aside")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="measure only what is missing, as without it")] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="measure only: no summary, figures and report yet")
    ] = False,
) -> None:
    """Measure what is missing of an experiment; then its summary, figures and report. Several go one by one."""
    if fresh and resume:
        raise typer.BadParameter("--fresh measures all anew, --resume only what is missing: give one of them")
    from testbed.campaign import make_plan

    def planned(path: Path) -> Plan:
        with working("Preparing models, data and nodes"):
            return make_plan(path, results, overrides=tuple(overrides or ()), edge=edge, cloud=cloud, data=data)

    if len(experiments) == 1:
        _measure(experiments[0], planned(experiments[0]), fresh, no_report)
    else:
        _measure_all(experiments, planned, fresh, no_report)


def _measure_all(paths: Sequence[Path], planned: Callable[[Path], Plan], fresh: bool, no_report: bool) -> None:
    """Several experiments. What cannot be planned is said first, and is a failure in the end; the others are measured.

    Raises:
        TestbedError: two of them would write to one folder.
        Exit: not all of them are complete and valid.
    """
    plans: dict[Path, Plan] = {}
    codes: list[int] = []
    for path in paths:
        try:
            plan = planned(path)
        except TestbedError as error:
            complain(str(error), style="red")
            codes.append(EXIT_FAILED)
            continue
        for other, its in plans.items():
            if its.folder == plan.folder:
                raise TestbedError(f"{path} and {other} are both named {plan.experiment.name}; give one another name")
        plans[path] = plan
    for number, (path, plan) in enumerate(plans.items(), start=1):
        note(f"{number} of {len(plans)}: {plan.experiment.title or plan.experiment.name} ({path})")
        try:
            _measure(path, plan, fresh, no_report)
        except typer.Exit as ended:
            codes.append(ended.exit_code)
            if ended.exit_code == EXIT_ABORTED or plan.experiment.on_error == "stop":
                break
    if codes:
        raise typer.Exit(EXIT_ABORTED if EXIT_ABORTED in codes else EXIT_FAILED)


def _measure(path: Path, planned: Plan, fresh: bool, no_report: bool) -> None:
    """One experiment, to its report where one is wanted.

    Raises:
        Exit: it is not complete and valid.
    """
    from testbed.campaign import Campaign
    from testbed.campaign.present import Present
    from testbed.record.documents import Invocation

    use_files(planned.experiment.plugins)  # several experiments are planned before the first is measured
    started = time.monotonic()
    with campaign_progress() as shown, Present(shown, planned.folder) as told:
        campaign = Campaign(planned, told, Invocation(argv=published(sys.argv[1:]), file=str(path)))
        statuses = asyncio.run(_interruptible(campaign, fresh))
    if campaign.begun:
        note(f"Measured in {time.monotonic() - started:.0f} s.")
    try:
        if no_report:
            note("No summary, figures and report were made; the same command without --no-report makes them.")
            return
        readable(_analyse)(planned.folder.path)
        if planned.replays:
            readable(_replay)(planned)
    finally:
        exit_for({f"{one.label} ({one.cell})": status for one, status in zip(planned.cells, statuses, strict=True)})


async def _interruptible(campaign: Any, fresh: bool) -> list[Status]:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, campaign.interrupt)
    statuses: list[Status] = await campaign.run(fresh=fresh)
    return statuses


def _analyse(folder: Path) -> None:
    """Everything that is made from the results, then the table."""
    from analysis.publish import publish
    from testbed.record.reader import read_campaign

    with working("Drawing figures and writing the report"):
        made = publish(folder, read_campaign(folder, complain))
    print_rows(*made.table)
    print_headline(made.measured)
    console.print(f"{made.summary}  {folder / 'figures'}/  {made.report}", highlight=False, soft_wrap=True)


def _replay(planned: Plan) -> None:
    """The exits that were not measured, decided over the timesteps that were."""
    import pandas as pd

    from analysis.replay import curves
    from testbed.cli.replay import frame_of
    from testbed.record.log import write_atomically
    from testbed.record.reader import read_cell

    frames = []
    for replay in planned.replays:
        cell = read_cell(planned.cells[replay.position].folder.path)
        found, refused = curves([cell], replay.policy, replay.accumulate, replay.thresholds)
        for line in refused:
            complain(line)
        if found:
            frames.append(frame_of(found).assign(policy=replay.policy, accumulate=replay.accumulate))
    if frames:
        target = planned.folder.path / "replay.csv"
        write_atomically(target, pd.concat(frames, ignore_index=True).to_csv(index=False, lineterminator="\n").encode())
        console.print(f"exits that were replayed: {target}", highlight=False, soft_wrap=True)


def exit_for(statuses: Mapping[str, Status]) -> None:
    """Exit code 0 only for what is complete and valid; else each reason with the cell that it is about."""
    if all(status.state == "complete" and status.valid for status in statuses.values()):
        return
    for cell, status in statuses.items():
        verdict = "invalid" if status.state == "complete" else status.state
        for reason in status.reasons:
            errors.print(f"{cell}: {verdict}: {reason}", highlight=False, markup=False, soft_wrap=True)
    states = {status.state for status in statuses.values()}
    raise typer.Exit(EXIT_ABORTED if "aborted" in states and "failed" not in states else EXIT_FAILED)


def published(argv: Sequence[str]) -> list[str]:
    """The command as the manifest keeps it: without `--results`, a folder of this machine that decides no number."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--results":
            next(words, None)
        elif not word.startswith("--results="):
            kept.append(word)
    return kept
