"""`testbed replay`: any exit rule over recorded timesteps, without hardware."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.console import EXIT_FAILED, complain, console, note, print_document, print_rows
from testbed.cli.options import AsJson, ExitAccumulate, ExitPolicy, Plugins, check_exit
from testbed.errors import TestbedError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.replay import Check
    from testbed.record.reader import Cell

MAX_ALPHAS = 10_000

Replayed = Annotated[
    Path,
    typer.Argument(help="an experiment, or a cell of one measured without exit", metavar="RESULTS/EXPERIMENT[/CELL]"),
]
Exits = Annotated[
    list[str],
    typer.Option(
        "--exit",
        metavar="ALPHA|FROM:TO:STEP|ALPHA,ALPHA,...",
        help="one α, a range of them, or one for each timestep but the last; may be given several times",
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="print CSV: a row for each cell and α, intervals too")]


def replay(
    folder: Replayed,
    exits: Exits,
    policy: ExitPolicy = "max_softmax",
    accumulate: ExitAccumulate = "mean",
    plugins: Plugins = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Apply exit policies to recorded timesteps, without hardware: answers and bytes exactly, the rest predicted."""
    from analysis.replay import checks, curves
    from testbed.record.reader import read_results

    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    check_exit(policy, accumulate)
    thresholds = list(itertools.chain.from_iterable(map(alphas, exits)))
    damaged: list[str] = []
    cells = read_results(folder, damaged.append)
    for line in damaged:
        complain(line, style="red")
    found, refused = curves(cells, policy, accumulate, thresholds)  # type: ignore[arg-type]
    if not found:
        why = (
            "; ".join(_by_reason(refused)) or "no cell ran all its timesteps without an exit; measure one without exit"
        )
        raise TestbedError(f"{folder}: nothing to replay: {why}")
    for line in refused:
        note(line)
    checked = checks(cells)
    if as_json:
        print_document(_document(found, checked, refused))
    elif as_csv:
        frame_of(found).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        for cell, frame in found:
            _print(cell, frame, policy, accumulate)
        for line in itertools.chain.from_iterable(map(_lines, checked)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if damaged:
        raise typer.Exit(EXIT_FAILED)


def alphas(text: str) -> list[float | list[float]]:
    """What a value of `--exit` stands for: an α, a range of them with both ends, or one for each timestep but the last.

    Raises:
        TestbedError: it is none of these.
    """
    parts = text.split(":")
    try:
        numbers = [[float(value) for value in part.split(",")] for part in parts]
        if not all(math.isfinite(value) for part in numbers for value in part):
            raise ValueError
        if len(parts) == 1:
            return [numbers[0] if "," in text else numbers[0][0]]
        (first,), (last,), (step,) = numbers
        count = math.floor((last - first) / step + 1e-9) + 1
        if step <= 0 or not 0 < count <= MAX_ALPHAS:
            raise ValueError
    except (ValueError, ZeroDivisionError) as error:
        raise TestbedError(
            f"--exit {text}: expected a number, a range FROM:TO:STEP as 0.5:0.99:0.01 (at most {MAX_ALPHAS:,} of "
            "them), or one number for each timestep but the last as 0.99,0.9,0.8"
        ) from error
    # Sums of steps such as 0.01 end in noise that nobody asked for.
    return [round(first + number * step, 10) for number in range(count)]


def _by_reason(refused: Iterable[str]) -> list[str]:
    """Lines of label and reason, each reason once."""
    labels: dict[str, list[str]] = {}
    for line in refused:
        label, _, reason = line.partition(": ")
        labels.setdefault(reason, []).append(label)
    return [f"{'; '.join(names)}: {reason}" for reason, names in labels.items()]


def _print(cell: Cell, frame: pd.DataFrame, policy: str, accumulate: str) -> None:
    kind = next((each for each in frame["energy_source"] if each), "")
    columns = {
        "accuracy": ("accuracy [%]", 100, 2),
        "mean_exit_timestep": ("mean exit", 1, 2),
        "payload_up_bytes": ("payload up [B]", 1, 1),
        "predicted_wire_up_bytes": ("wire up [B], predicted", 1, 1),
        "predicted_latency_p50_ms": ("p50 [ms], predicted", 1, 2),
        "predicted_latency_p95_ms": ("p95 [ms], predicted", 1, 2),
        "predicted_energy_mj": (f"energy ({kind}) [mJ], predicted", 1, 2),
    }
    shown = {name: look for name, look in columns.items() if frame[name].notna().any()}
    title = f"{cell.manifest.label}: {policy} of the {accumulate}, ± 95% over {cell.manifest.repeats} repeats"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    rows = [
        [_alpha(row["threshold"]), *(_text(row, name, factor, digits) for name, (_, factor, digits) in shown.items())]
        for row in frame.to_dict("records")
    ]
    print_rows(["α", *(header for header, _, _ in shown.values())], rows)
    if frame.attrs["not_predicted"]:
        note(frame.attrs["not_predicted"])
    if frame.attrs["mean_power"]:
        note(f"{cell.manifest.label}: its power samples cannot tell waiting from working, so both have the mean power")
    console.print()


def _text(row: dict[Any, Any], name: str, factor: float, digits: int) -> str:
    value, high = factor * row[name], factor * row[f"{name}_hi"]
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f}" if math.isnan(high) else f"{value:.{digits}f} ± {high - value:.{digits}f}"


def _alpha(threshold: float | Sequence[float]) -> str:
    return f"{threshold:g}" if isinstance(threshold, float) else " ".join(f"{each:g}" for each in threshold)


def _lines(check: Check) -> Iterable[str]:
    """What a check says, for people."""
    exact = f"{check.same} of {check.requests} requests have the exit, answer and payload of the replay"
    from analysis.replay import CONTROL

    yield f"measured with exit: {check.measured}, beside the replay of {check.replayed}: {exact}"
    for error in check.errors:
        half = "" if error.percent.half is None else f" ± {error.percent.half:.1f}"
        each = ", ".join(f"{value:+.1f}" for value in error.per_repeat_pct.values())
        what = f"{error.name} (the same work in both, so no prediction)" if error.name == CONTROL else error.name
        yield f"  {what}: off by {error.percent.mean:+.1f}{half}% (by repeat: {each})"


def frame_of(found: Sequence[tuple[Cell, pd.DataFrame]]) -> pd.DataFrame:
    """The curves of several cells in one frame, a row for each cell and α."""
    import pandas as pd

    parts = []
    for cell, frame in found:
        part = frame.assign(threshold=frame["threshold"].map(_alpha))
        part.insert(0, "cell", cell.manifest.cell)
        part.insert(1, "label", cell.manifest.label)
        part.attrs = {}  # they differ from cell to cell
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _document(
    found: Sequence[tuple[Cell, pd.DataFrame]], checked: Sequence[Check], refused: Sequence[str]
) -> dict[str, Any]:
    cells = [
        {
            "cell": cell.manifest.cell,
            "label": cell.manifest.label,
            "not_predicted": frame.attrs["not_predicted"] or None,
            "mean_power": frame.attrs["mean_power"],
            "curve": frame.to_dict("records"),
        }
        for cell, frame in found
    ]
    told = [
        {
            "replayed": check.replayed,
            "measured": check.measured,
            "policy": check.policy,
            "accumulate": check.accumulate,
            "requests": check.requests,
            "same": check.same,
            "errors": [
                {
                    "name": error.name,
                    "percent": error.percent.mean,
                    "percent_ci95": error.percent.half,
                    "per_repeat_percent": {str(repeat): value for repeat, value in error.per_repeat_pct.items()},
                }
                for error in check.errors
            ],
        }
        for check in checked
    ]
    return {"cells": cells, "checks": told, "not_replayed": list(refused)}
