"""Rate and accuracy of evaluated models: what `testbed evaluate` wrote, by recipe, split and code, over seeds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from analysis.stats import over_repeats, wilson
from testbed.errors import RecordError

EVALUATED = "models.csv"
"""The file of `testbed evaluate` that all of this is made of."""

ENOUGH_SEEDS = 3
"""Student's t over two seeds is 13 standard errors wide, which says next to nothing."""

_Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Reached:
    """Accuracies after all T timesteps, fractions: of each seed, and their mean with its 95% interval.

    Of three seeds and more it is Student's interval over them, of fewer that for drawing other test samples (Wilson).
    """

    seeds: tuple[float, ...]
    mean: float
    low: float
    high: float

    @classmethod
    def by(cls, accuracies: Iterable[float], samples: int) -> Reached:
        """Of the accuracies of each seed on the same samples."""
        seeds = tuple(accuracies)
        found = over_repeats(seeds)
        if len(seeds) >= ENOUGH_SEEDS and found.half is not None:
            return cls(seeds, found.mean, found.mean - found.half, found.mean + found.half)
        return cls(seeds, found.mean, *wilson(found.mean, samples))


@dataclass(frozen=True)
class Point:
    """A code: nominal bits and those that are really sent per timestep, bytes per request of all T, what it reaches.

    The codec is `auto`, without exit. The drops are means over seeds, in points; None where there is no control.
    """

    split: str
    variant: str
    code: str
    nominal_bits: float
    bits: float
    request_bytes: float
    edge_share: float
    reached: Reached
    drop: float
    drop_to_control: float | None


@dataclass(frozen=True)
class Curves:
    """A recipe, with any number of seeds: its uncut network, the control, and codes by split and bits."""

    title: str
    timesteps: int
    samples: int
    uncut: Reached
    control: Reached | None
    splits: dict[str, list[Point]]

    @property
    def seeds(self) -> int:
        """How many recipes there are that differ in their seed alone."""
        return len(self.uncut.seeds)


def read_curves(path: Path) -> list[Curves]:
    """The curves of an evaluation, one for each recipe and form of its weights that has a code.

    Raises:
        RecordError: it is no such file.
    """
    families: dict[tuple[str, str], list[_Row]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not row["exit_threshold"] and row["codec"] in ("", "auto"):
                    families.setdefault((row["family"], row["weights"]), []).append(row)
        return [_curves(rows) for rows in families.values() if any(row["kind"] == "bottleneck" for row in rows)]
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise RecordError(
            f"{path}: not what this testbed's `testbed evaluate` writes ({error}); write it anew"
        ) from error


def _curves(rows: Sequence[_Row]) -> Curves:
    first = rows[0]
    samples, timesteps = int(first["samples"]), int(first["timesteps"])
    uncut = {row["recipe"]: float(row["accuracy"]) for row in rows if row["kind"] == "uncut"}
    control = {row["recipe"]: float(row["accuracy"]) for row in rows if row["kind"] == "control"}
    variants: dict[str, list[_Row]] = {}
    for row in rows:
        if row["kind"] == "bottleneck":
            variants.setdefault(row["variant"], []).append(row)
    splits: dict[str, list[Point]] = {}
    for found in variants.values():
        point = _point(found, samples, timesteps, uncut, control)
        splits.setdefault(point.split, []).append(point)
    return Curves(
        title=f"{first['dataset']}, {first['backbone']}" + (f" {first['weights']}" * (first["weights"] != "float")),
        timesteps=timesteps,
        samples=samples,
        uncut=Reached.by(uncut.values(), samples),
        control=Reached.by(control.values(), samples) if control else None,
        splits={split: sorted(points, key=lambda point: point.bits) for split, points in splits.items()},
    )


def _point(
    rows: Sequence[_Row], samples: int, timesteps: int, uncut: Mapping[str, float], control: Mapping[str, float]
) -> Point:
    first = rows[0]
    reached = {row["recipe"]: float(row["accuracy"]) for row in rows}
    sent = _mean(float(row["payload_bytes"]) for row in rows)
    channels, height, width = map(int, first["code"].split("x"))
    return Point(
        split=first["split"],
        variant=first["variant"],
        code=first["code"],
        nominal_bits=channels * height * width,
        bits=8 * sent / timesteps,
        request_bytes=sent,
        edge_share=float(first["edge_share"]),
        reached=Reached.by(reached.values(), samples),
        drop=100 * _mean(uncut[recipe] - value for recipe, value in reached.items()),
        drop_to_control=100 * _mean(control[recipe] - value for recipe, value in reached.items()) if control else None,
    )


def _mean(values: Iterable[float]) -> float:
    return over_repeats(list(values)).mean
