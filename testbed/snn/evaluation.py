"""What an evaluation found, a row for each way to answer the test set, as CSV and as a table for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tabulate import tabulate

from testbed.record.log import make_folder, write_atomically


@dataclass(frozen=True)
class Row:
    """One way to answer the test set. Accuracies are fractions, bytes are means per request, of payload alone.

    `drop_points` is against all T timesteps of the uncompressed backbone in float, with a 95% interval for paired
    proportions; `exit_drop_points` against all T of the same network. The reductions divide all T timesteps of features
    at the split (float32, or one bit each) by the payload sent. `accuracy_per_timestep` is of the mean logits after
    1..T. `family` is the same for recipes that differ in name and seed alone. `kind` is `uncut`, `plain`, `bottleneck`
    or `control`. `split` says so where a code is made of the pixels, in place of all layers up to it. `edge_share` is
    what the edge has of the multiplications of a timestep.
    """

    recipe: str
    recipe_digest: str
    family: str
    seed: int
    dataset: str
    dataset_variant: str
    backbone: str
    width: int | None
    spiking: bool
    weights: str
    timesteps: int
    mode: str
    variant: str
    kind: str
    split: str
    code: str
    compression: float | None
    edge_share: float
    codec: str
    exit_threshold: float | None
    samples: int
    accuracy: float
    accuracy_per_timestep: str
    drop_points: float
    drop_low: float
    drop_high: float
    exit_drop_points: float | None
    mean_exit_timestep: float
    payload_bytes: float | None
    reduction_vs_float32: float | None
    reduction_vs_packed: float | None
    trained_minutes: float | None


def write_rows(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write `models.csv` (every column) and `models.md` (for people), replacing what is there."""
    make_folder(folder)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        writer.writerow("" if value is None else _rounded(value) for value in astuple(row))
    headers, cells = table(rows)
    markdown = tabulate(cells, headers, tablefmt="github", disable_numparse=True)
    paths = [folder / "models.csv", folder / "models.md"]
    for path, content in zip(paths, (text.getvalue(), markdown + "\n"), strict=True):
        write_atomically(path, content.encode())
    return paths


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The rows for people: headers and cells."""
    headers = [
        "recipe", "cell", "code", "accuracy after t=1..T [%]", "accuracy [%]", "drop [points] (95%)",
        "mean exit", "mean payload [B]", "payload vs float32", "payload vs packed",
    ]  # fmt: skip
    cells = []
    for row in rows:
        steps = " ".join(f"{100 * float(value):.2f}" for value in row.accuracy_per_timestep.split())
        name = (
            row.mode.replace("_", "-")
            + ("" if row.spiking else " ANN")
            + (f" {row.weights}" if row.weights != "float" else "")
            + (f" {row.split} {row.compression:g}x {row.codec}" if row.variant else "")
        )
        if row.exit_threshold is not None:
            name += f", exit {row.exit_threshold:g}"
        drop = f"{row.drop_points:.2f} ({row.drop_low:.2f} to {row.drop_high:.2f})"
        sent = "" if row.payload_bytes is None else f"{row.payload_bytes:.1f}"
        versus = [
            "" if value is None else f"{value:.3g}x" if value < 1000 else f"{value:.0f}x"
            for value in (row.reduction_vs_float32, row.reduction_vs_packed)
        ]
        cells.append(
            [
                row.recipe,
                name,
                row.code,
                steps,
                f"{100 * row.accuracy:.2f}",
                drop,
                f"{row.mean_exit_timestep:.2f}",
                sent,
                *versus,
            ]
        )
    return headers, cells


def trained_minutes(log: Path) -> float | None:
    """Minutes that the epochs of a training log took; None where the weights came without one."""
    if not log.exists():
        return None
    with log.open(newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file)) / 60


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value
