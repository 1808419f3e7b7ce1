"""A cell with all numbers drawn from it, and how cells are measured: each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import pandas as pd

from analysis.alike import Alike
from analysis.metrics.metric import Metric
from testbed.errors import RecordError
from testbed.record.reader import Cell

V = TypeVar("V")


@dataclass(frozen=True)
class Measured:
    """A cell and the values of its metrics; None where a metric does not apply or could not be had.

    `problems` says what could not be had and why. `baseline` is what the cell is compared with: the same campaign's
    `edge_only` without exit, which may be the cell itself. `title` stands in place of the cell's own label.
    """

    cell: Cell
    values: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    baseline: Measured | None = None
    title: str = ""

    def get(self, metric: Metric[V]) -> V | None:
        """The value of a metric."""
        return self.values.get(metric.name)

    @cached_property
    def answered(self) -> pd.DataFrame:
        """The requests that were answered (`outcome` ok).

        Raises:
            RecordError: none was.
        """
        rows = self.cell.requests
        rows = rows[rows["outcome"] == "ok"]
        if rows.empty:
            raise RecordError(f"{self.cell.folder}: none of its requests was answered")
        return rows

    @cached_property
    def alike(self) -> Alike:
        """Weighs the cell's requests."""
        return Alike(self.cell.requests)

    @cached_property
    def alike_answered(self) -> Alike:
        """Weighs those that were answered.

        Raises:
            RecordError: none was.
        """
        return self.alike if len(self.answered) == len(self.cell.requests) else Alike(self.answered)

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return self.title or self.cell.manifest.label

    @property
    def emulated(self) -> bool:
        """Whether a node that takes part in the cell is emulated."""
        return any(node.profile.kind == "emulated" for node in self.cell.manifest.nodes.values())

    @property
    def valid(self) -> bool | None:
        """The run's verdict; false where a complete cell's record has holes, None if not complete."""
        status = self.cell.status
        if status is None or not self.cell.complete:
            return None
        return bool(status.valid) and not self.problems

    @property
    def verdict(self) -> str:
        """Valid or not in a word; the state of a cell that is not complete."""
        if self.valid is None:
            return self.cell.status.state if self.cell.status else "unfinished"
        return "yes" if self.valid else "invalid"

    @property
    def reasons(self) -> list[str]:
        """Why the cell is not complete or not valid."""
        status = self.cell.status
        if status is None:
            return ["unfinished"]
        state = [] if self.cell.complete else [status.state]
        doubt = []
        if self.baseline is not None and self.baseline.cell is not self.cell and self.baseline.valid is not True:
            doubt = [f"compared with a baseline that is not valid: {self.baseline.label}"]
        return [*state, *status.reasons, *self.problems, *doubt]


def measure_with(metrics: Sequence[Metric[Any]], cells: Sequence[Cell]) -> list[Measured]:
    """These metrics of all cells. A hole in one cell's record is that cell's problem alone."""
    measured = [_filled(Measured(cell, problems=cell.damage), [m for m in metrics if not m.compares]) for cell in cells]
    compared = [replace(one, baseline=baseline_of(one, measured)) for one in measured]
    return [_filled(one, [m for m in metrics if m.compares]) if one.baseline else one for one in compared]


def baseline_of(one: Measured, measured: Sequence[Measured]) -> Measured | None:
    """The first complete baseline, in the file's order, on the same data set, backbone, weights, edge and scenario.

    That of an ANN is a spiking one where there is one, and if need be with other weights.
    """
    if not one.cell.complete:
        return None
    model = one.cell.manifest.model

    def farness(other: Measured) -> tuple[bool, bool]:
        theirs = other.cell.manifest.model
        return not theirs.spiking, theirs.weights != model.weights

    complete = [other for other in measured if other.cell.manifest.config.baseline and other.cell.complete]
    alike = [other for other in complete if _kin(one) == _kin(other)]
    if model.spiking:
        alike = [other for other in alike if not any(farness(other))]
    return min(alike, key=farness, default=None)


def _filled(one: Measured, metrics: Sequence[Metric[Any]]) -> Measured:
    if not one.cell.complete:
        return one
    values, problems = dict(one.values), list(one.problems)
    # Tables are read into a copy of the cell, which goes when it is measured: a campaign may be larger than memory.
    filling = replace(one, cell=replace(one.cell), values=values)
    for metric in metrics:
        _measure(metric, filling, values, problems)
    return replace(one, values=values, problems=tuple(problems))


def _measure(metric: Metric[Any], one: Measured, values: dict[str, Any], problems: list[str]) -> None:
    """Add a metric, and those that it needs, to the values that the cell has so far."""
    if metric.name in values:
        return
    for need in metric.needs:
        _measure(need, one, values, problems)
    try:
        values[metric.name] = metric.of(one)
    except RecordError as error:
        values[metric.name] = None
        # What is missing for one metric is often missing for others, and is told once.
        if not any(problem in str(error) for problem in problems):
            problems.append(str(error))


def _kin(one: Measured) -> tuple[object, ...]:
    manifest = one.cell.manifest
    edges = tuple(node.id for node in manifest.role("edge"))
    scenario = manifest.config.scenario
    arriving = scenario.kind, scenario.target_qps, scenario.deadline_ms
    model, dataset = manifest.model, manifest.dataset
    return dataset.name, dataset.variant, model.backbone, edges, arriving
