"""The `testbed` command: parses, calls, prints; no logic."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import msgspec
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from testbed.errors import TestbedError
from testbed.record.schema import Status

P = ParamSpec("P")
EXIT_FAILED, EXIT_ABORTED = 1, 130
TABLE_COLUMNS = 300
CHECK_COLUMN = len("power: tegrastats")

app = typer.Typer(
    help="Energy, latency, accuracy and traffic of spiking edge-cloud co-inference, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

ExperimentFile = Annotated[Path, typer.Argument(help="an experiments/*.yaml", metavar="EXPERIMENT.yaml")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a key of the file")]
Edge = Annotated[Path | None, typer.Option("--edge", metavar="FILE", help="the device that plays the edge")]
Cloud = Annotated[Path | None, typer.Option("--cloud", metavar="FILE", help="the device that plays the cloud")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help="where the data set lies: folder or archive (docs/datasets.md)"),
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="where results are kept")]
Shown = Annotated[
    Path,
    typer.Argument(help="the results of one experiment, or a model", metavar="RESULTS/EXPERIMENT|RESULTS/models/.."),
]
ExitPolicy = Annotated[str, typer.Option("--policy", help="max_softmax, entropy or margin")]
ExitAccumulate = Annotated[str, typer.Option("--accumulate", help="mean or sum of the logits; sums sharpen with t")]
ResultsFolder = Annotated[Path, typer.Argument(help="the results of one experiment", metavar="RESULTS/EXPERIMENT")]
IncludeInvalid = Annotated[bool, typer.Option("--include-invalid", help="draw cells that missed a validity gate")]


def _readable(command: Callable[P, None]) -> Callable[P, None]:
    """Errors that a user can act on are one line, not a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TestbedError as error:
            errors.print(f"testbed: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_FAILED) from error

    return run


@app.command()
@_readable
def run(
    experiment: ExperimentFile,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
    resume: Annotated[bool, typer.Option("--resume", help="measure only what is missing")] = False,
) -> None:
    """Measure an experiment; then its summary, figures and report."""
    from testbed.campaign import Campaign, plan

    with console.status("Preparing models, data and nodes"):
        planned = plan(experiment, results, overrides=tuple(overrides or ()), edge=edge, cloud=cloud, data=data)
    started = time.monotonic()
    with _Bars() as bars:
        campaign = Campaign(planned, bars, {"argv": sys.argv[1:], "file": str(experiment)})
        statuses = asyncio.run(_interruptible(campaign, resume))
    console.print(f"Measured in {time.monotonic() - started:.0f} s.")
    _analyse(planned.folder)
    _exit_for(statuses)


@app.command("plan")
@_readable
def plan_(
    experiment: ExperimentFile,
    overrides: Set = None,
    edge: Edge = None,
    cloud: Cloud = None,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Show the cells of an experiment, what is measured already and about how long the rest takes."""
    from testbed.campaign import complete_attempt, plan

    planned = plan(experiment, results, overrides=tuple(overrides or ()), edge=edge, cloud=cloud, data=data)
    repeats = planned.experiment.repeats
    table = Table("cell", "what", "model", "measured repeats", box=None)
    for cell in planned.cells:
        done = sum(complete_attempt(cell.folder, repeat) is not None for repeat in range(repeats))
        table.add_row(cell.cell, cell.label, cell.card.name, f"{done} of {repeats}")
    console.print(table)
    missing = len(planned.missing())
    console.print(
        f"{missing} repeats to measure, {len(planned.cells) * repeats - missing} measured, in {planned.folder}"
    )
    seconds = planned.seconds_per_repeat()
    if missing and seconds is not None:
        console.print(f"About {missing * seconds / 60:.1f} min left, at {seconds:.1f} s for a repeat measured so far.")


@app.command()
@_readable
def check(
    devices: Annotated[list[Path], typer.Argument(help="devices/*.yaml", metavar="DEVICE.yaml...")],
) -> None:
    """See whether nodes can measure what their profiles promise, and what to do where they cannot."""
    from testbed.check import check as run_check

    failed = []
    with console.status("") as status:
        for node in run_check(devices, lambda path: status.update(f"Looking at {path}")):
            _print_check(node)
            failed += [node.node] if node.failed else []
    if failed:
        errors.print(f"testbed: not ready to measure: {', '.join(failed)}", style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED)


@app.command()
@_readable
def train(
    recipe: Annotated[Path, typer.Argument(help="an experiments/train/*.yaml", metavar="RECIPE.yaml")],
    data: Data = None,
    results: Results = Path("results"),
    retrain: Annotated[
        bool, typer.Option("--retrain", help="train anew, though trained weights ship with the recipe")
    ] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu")] = "auto",
    devices: Annotated[int, typer.Option(help="processes on each node; 0: every GPU, or one on a CPU")] = 0,
    nodes: Annotated[int, typer.Option(help="nodes that train together, under torchrun or Slurm")] = 1,
) -> None:
    """Train a recipe and export its step graphs; goes on where an interrupted training stopped."""
    from testbed.runtime.artefact import load_card
    from testbed.snn.artefact import train as run_training
    from testbed.snn.processes import Hardware, is_first_process
    from testbed.snn.recipe import describe, load_recipe

    console.quiet = not is_first_process()
    for line in describe(load_recipe(recipe)):
        console.print(line, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("preparing", total=None)

        def report(now: Any) -> None:
            text = (
                f"{now.network}, {now.phase}: epoch {now.epoch}/{now.epochs}, loss {now.loss:.3f}, {now.accuracy:.1%}"
            )
            progress.update(task, description=text, completed=now.step, total=now.steps)

        hardware = Hardware(accelerator, devices or "auto", nodes)
        try:
            folders = run_training(recipe, results / "models", data, report, retrain=retrain, hardware=hardware)
        except KeyboardInterrupt:
            if is_first_process():
                errors.print("testbed: interrupted; the same command goes on from the last whole epoch", style="red")
            raise typer.Exit(EXIT_ABORTED) from None
    table = Table("artefact", "split", "code", "compression", "accuracy per timestep (whole | split)", box=None)
    for folder in folders:
        card = load_card(folder)
        per_step = [" ".join(f"{value:.4f}" for value in card.accuracy_per_timestep[key]) for key in ("full", "split")]
        code = "x".join(map(str, card.code_shape or []))
        table.add_row(str(folder), card.split, code, f"{card.compression:g}x", " | ".join(per_step))
    console.print(table)


@app.command()
@_readable
def evaluate(
    recipes: Annotated[list[Path], typer.Argument(help="experiments/train/*.yaml, trained", metavar="RECIPE.yaml...")],
    data: Data = None,
    results: Results = Path("results"),
    drop: Annotated[float, typer.Option(help="points of accuracy that an exit may lose on validation samples")] = 0.5,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="write models.csv and models.md here")
    ] = None,
) -> None:
    """Print what trained recipes reach on the test set: accuracy, exits and bytes of every variant, without nodes."""
    from testbed.snn.evaluate import evaluate as run_evaluation
    from testbed.snn.evaluate import table, write_rows

    rows = []
    for recipe in recipes:
        with console.status(f"Evaluating {recipe}"):
            rows += run_evaluation(recipe, results / "models", data, drop)
    _print_rows(*table(rows))
    if out is not None:
        for path in write_rows(rows, out):
            console.print(str(path), highlight=False)


@app.command()
@_readable
def show(folder: Shown) -> None:
    """Print the table of an experiment's results, or what a model artefact is."""
    from analysis.codes import describe_model
    from analysis.metrics import measure
    from analysis.tables import table
    from testbed.record.reader import read_campaign
    from testbed.runtime.artefact import CARD_NAME, load_card

    if (folder / CARD_NAME).exists():
        for headers, rows in describe_model(msgspec.to_builtins(load_card(folder))):
            _print_rows(headers, rows)
    else:
        _print_rows(*table(measure(read_campaign(folder))))


@app.command()
@_readable
def figures(folder: ResultsFolder, include_invalid: IncludeInvalid = False) -> None:
    """Draw the figures of an experiment's results."""
    from analysis.figures import draw, save
    from analysis.metrics import measure
    from testbed.record.reader import read_campaign

    for path in save(folder, draw(measure(read_campaign(folder)), include_invalid)):
        console.print(str(path), highlight=False)


@app.command()
@_readable
def tables(folder: ResultsFolder) -> None:
    """Write summary.csv, and the table as Markdown and LaTeX."""
    from analysis.metrics import measure
    from analysis.summary import write_summary
    from analysis.tables import write_tables
    from testbed.record.reader import read_campaign

    measured = measure(read_campaign(folder))
    for path in (write_summary(folder, measured), *write_tables(folder, measured)):
        console.print(str(path), highlight=False)


@app.command()
@_readable
def report(folder: ResultsFolder) -> None:
    """Write report.html: one file with tables, figures, and how sure they are."""
    from analysis.figures import draw_or_why
    from analysis.metrics import measure
    from analysis.report import write_report
    from testbed.record.reader import read_campaign

    measured = measure(read_campaign(folder))
    console.print(str(write_report(folder, measured, *draw_or_why(measured))), highlight=False)


@app.command()
@_readable
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

    _check_exit(policy, accumulate)
    alphas = [_alphas(text) for text in threshold]
    outcome = run_replay(read_cell(folder), policy, accumulate, alphas)  # type: ignore[arg-type]
    table = Table("threshold", "accuracy", "mean exit timestep", box=None)
    for text, row in zip(threshold, outcome.itertuples(), strict=True):
        table.add_row(text, f"{row.accuracy:.4f}", f"{row.mean_exit_timestep:.2f}")
    console.print(table)


@app.command()
@_readable
def calibrate(
    recipe: Annotated[Path, typer.Argument(help="an experiments/train/*.yaml", metavar="RECIPE.yaml")],
    variant: Annotated[str, typer.Argument(help="one of the recipe's variants", metavar="VARIANT")],
    drop: Annotated[
        float, typer.Option(min=0, max=100, metavar="POINTS", help="accuracy that an exit may cost, against all T")
    ],
    policy: ExitPolicy = "max_softmax",
    accumulate: ExitAccumulate = "mean",
    per_timestep: Annotated[bool, typer.Option("--per-timestep", help="an α for each timestep but the last")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="the uncompressed backbone, for edge_only cells, not the split network")
    ] = False,
    data: Data = None,
    results: Results = Path("results"),
) -> None:
    """Choose an exit's α on validation data: the earliest mean exit for an allowed accuracy drop."""
    from testbed.snn.artefact import ensure
    from testbed.snn.calibrate import Settings, calibration_rows, exit_block
    from testbed.snn.calibrate import calibrate as run_calibration

    _check_exit(policy, accumulate)
    settings = Settings(
        network="full" if full else "split",
        drop=drop,
        policy=policy,  # type: ignore[arg-type]
        accumulate=accumulate,  # type: ignore[arg-type]
        per_timestep=per_timestep,
    )
    with console.status("Running the validation samples"):
        ensure(recipe, variant, results / "models", data)
        found = run_calibration(recipe, variant, results / "models", data, settings)
    _print_rows(*calibration_rows(found))
    kept = found.validation
    console.print(
        f"{kept.samples} validation samples of {kept.dataset}; the test set was not used. Drops in points with "
        f"their interval ({found.interval}), which does not cover that α was chosen on these samples.",
        highlight=False,
    )
    console.print(exit_block(found), highlight=False, markup=False, soft_wrap=True)


@app.command()
@_readable
def convert(
    log: Annotated[Path, typer.Argument(help="a log of tegrastats; - is standard input", metavar="FILE.log")],
) -> None:
    """Turn a tegrastats log of any L4T release into JSON lines on standard output."""
    from testbed.convert import convert as run_convert

    done = run_convert(log, sys.stdout.fileno())
    if done.foreign:
        errors.print(
            f"testbed: {log}: {done.foreign} of {done.lines} lines are not tegrastats', "
            f"the first is line {done.first_foreign}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _check_exit(policy: str, accumulate: str) -> None:
    from typing import get_args

    from testbed.record.exits import Accumulate, Policy

    if policy not in get_args(Policy) or accumulate not in get_args(Accumulate):
        policies, ways = " or ".join(get_args(Policy)), " or ".join(get_args(Accumulate))
        raise TestbedError(f"no exit policy {policy} of the {accumulate}: --policy {policies}, --accumulate {ways}")


def _alphas(text: str) -> float | list[float]:
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise TestbedError(f"--threshold {text}: expected a number, or numbers as 0.99,0.9,0.8") from error
    return values if "," in text else values[0]


def main() -> None:
    """Entry point of the `testbed` command."""
    notices = logging.StreamHandler()
    notices.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("testbed").addHandler(notices)
    logging.getLogger("testbed").setLevel(logging.INFO)  # such as the minutes that preparing a data set takes
    app()


class _Bars:
    """Progress of a campaign: one bar over its attempts, one over the present attempt."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._all: TaskID | None = None
        self._one: TaskID | None = None
        self._title = ""

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def attempt(self, number: int, of: int, title: str) -> None:
        if self._all is None or self._one is None:
            self._all = self._progress.add_task("repeats", total=of)
            self._one = self._progress.add_task(title)
        self._title = title
        self._progress.update(self._all, completed=number - 1, total=of)

    def phase(self, name: str, done: int, total: int) -> None:
        if self._one is not None:
            self._progress.update(self._one, description=f"{self._title}: {name}", completed=done, total=max(total, 1))


async def _interruptible(campaign: Any, resume: bool) -> list[Status]:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, campaign.interrupt)
    statuses: list[Status] = await campaign.run(resume=resume)
    return statuses


def _analyse(folder: Path) -> None:
    """Everything that is made from the results, then the table."""
    from analysis.publish import publish
    from testbed.record.reader import read_campaign

    with console.status("Drawing figures and writing the report"):
        made = publish(folder, read_campaign(folder))
    _print_rows(*made.table)
    console.print(f"{made.summary}  {folder / 'figures'}/  {made.report}", highlight=False, soft_wrap=True)


def _print_rows(headers: list[str], rows: list[list[str]]) -> None:
    """Plain data as a table; a narrow terminal wraps whole lines, never single cells."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, header in enumerate(headers):
        # One word a line keeps the columns as narrow as their numbers.
        name = Text(header.replace(" ", "\n"))  # not markup: "[ms]" is a unit
        shown.add_column(name, no_wrap=True, justify="right" if number else "left", vertical="bottom")
    for row in rows:
        shown.add_row(*row)
    wanted = Measurement.get(console, console.options.update(max_width=TABLE_COLUMNS), shown).maximum
    Console(width=max(console.width, wanted)).print(shown)


def _print_check(node: Any) -> None:
    """One node's lines; what to do stands below what was seen."""
    table = Table(
        title=Text(node.node, style="bold"), title_justify="left", box=None, show_header=False, pad_edge=False
    )
    styles = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=CHECK_COLUMN)
    table.add_column(overflow="fold")
    for line in node.lines:
        seen = Text(line.seen) if not line.fix else Text(f"{line.seen}\n→ {line.fix}")
        table.add_row(Text(line.state, style=styles[line.state]), line.what, seen)
    console.print(table)
    console.print()


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
