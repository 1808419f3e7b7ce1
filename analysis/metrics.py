"""The numbers of one cell: accuracy, latency and its stages, traffic, exits, and how they compare.

Accuracy counts every request: one that timed out or failed is a wrong answer. Latency, stages, traffic and
exits are over requests that were answered (`outcome` ok).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.codes import CodeBits, code_bits
from analysis.energy import Energy, energy
from analysis.opcount import OpCount, op_count
from analysis.stats import Interval, over_repeats, wilson
from testbed.errors import RecordError
from testbed.record.documents import Role
from testbed.record.reader import Cell

STAGES = ("edge_compute", "encode", "network", "cloud_compute", "rest")
"""The parts of a request's latency; `rest` is what the other four leave unexplained."""


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers, a fraction, and its 95% interval for drawing other samples of the data set."""

    fraction: float
    low: float
    high: float
    samples: int
    not_ok: int


@dataclass(frozen=True)
class Latency:
    """Percentiles of all repeats' requests together, ms, with intervals of each repeat's own percentile."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    p50: Interval
    p95: Interval


@dataclass(frozen=True)
class Traffic:
    """Bytes per request, and the reduction that they are.

    Both reductions divide all T timesteps of features at the split, as float32 or as one bit each, by the
    payload bytes really sent, so early exits and entropy coding count. None where no features are sent.
    """

    payload_up_bytes: float
    payload_down_bytes: float
    wire_up_bytes: float
    wire_down_bytes: float
    reduction_vs_float32: float | None
    reduction_vs_packed: float | None


@dataclass(frozen=True)
class Comparison:
    """A cell against its baseline, `edge_only` without exit of the same campaign, which may be the cell itself."""

    baseline: str
    baseline_doubtful: bool
    accuracy_drop_points: float | None
    latency_speedup: float | None
    energy_saving_pct: float | None


@dataclass(frozen=True)
class Measured:
    """A cell and all numbers drawn from it; None where a number does not apply or could not be had.

    `problems` says what could not be had and why.
    """

    cell: Cell
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)
    traffic: Traffic | None = None
    code: CodeBits | None = None
    mean_exit_timestep: float | None = None
    compression: float | None = None
    energy: Energy | None = None
    cloud_energy: Energy | None = None
    op_count: OpCount | None = None
    comparison: Comparison | None = None
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The cell's name for people."""
        return self.cell.manifest.label

    @property
    def valid(self) -> bool | None:
        """The run's verdict; false where a complete cell's record has holes, None if not complete."""
        status = self.cell.status
        if status is None or not self.cell.complete:
            return None
        return bool(status.valid) and not self.problems

    @property
    def reasons(self) -> list[str]:
        """Why the cell is not complete or not valid."""
        status = self.cell.status
        if status is None:
            return ["unfinished"]
        state = [] if self.cell.complete else [status.state]
        doubt = []
        if self.comparison and self.comparison.baseline_doubtful:
            doubt = [f"compared with a baseline that is not valid: {self.comparison.baseline}"]
        return [*state, *status.reasons, *self.problems, *doubt]


def is_emulated(cell: Cell) -> bool:
    """Whether a node that takes part in the cell's latency is emulated."""
    nodes = cell.manifest.role("edge") if cell.manifest.sends == "nothing" else cell.manifest.nodes.values()
    return any(node.profile.kind == "emulated" for node in nodes)


def accuracy(cell: Cell) -> Accuracy:
    """Right answers over all requests; a request without an answer counts as wrong.

    The interval is Wilson's over the distinct samples: repeats ask for the same ones.
    """
    rows = cell.requests
    ok = (rows["outcome"] == "ok").to_numpy()
    right = ok & (rows["prediction"] == rows["label"]).to_numpy(dtype=bool, na_value=False)
    fraction = float(right.mean())
    samples = int(rows["sample_index"].nunique())
    low, high = wilson(fraction, samples)
    return Accuracy(fraction, low, high, samples, int((~ok).sum()))


def latency(cell: Cell) -> Latency:
    """Percentiles of the latency of answered requests, linear between ranks."""
    rows = _answered(cell)
    p50, p95, p99 = np.percentile(rows["latency_ms"].to_numpy(), [50, 95, 99])
    repeats = [group["latency_ms"].to_numpy() for _, group in rows.groupby("repeat")]
    return Latency(
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        p50=over_repeats([float(np.percentile(values, 50)) for values in repeats]),
        p95=over_repeats([float(np.percentile(values, 95)) for values in repeats]),
    )


def stages_ms(cell: Cell) -> dict[str, float]:
    """Mean milliseconds of each of `STAGES` per answered request. Overlapping stages make `rest` negative."""
    rows = _answered(cell)
    means = {stage: float(rows[f"{stage}_ms"].mean()) for stage in STAGES if stage != "rest"}
    return {**means, "rest": float(rows["latency_ms"].mean()) - sum(means.values())}


def traffic(cell: Cell) -> Traffic | None:
    """Mean bytes per answered request and the reductions, or None for a cell that sends nothing."""
    manifest = cell.manifest
    if manifest.sends == "nothing":
        return None
    rows = _answered(cell)
    sent = float(rows["payload_up_bytes"].mean())
    bits = None
    if manifest.sends == "code" and sent > 0 and manifest.model.feature_shape is not None:
        bits = manifest.model.timesteps * math.prod(manifest.model.feature_shape)
    return Traffic(
        payload_up_bytes=sent,
        payload_down_bytes=float(rows["payload_down_bytes"].mean()),
        wire_up_bytes=float(rows["wire_up_bytes"].mean()),
        wire_down_bytes=float(rows["wire_down_bytes"].mean()),
        reduction_vs_float32=None if bits is None else bits * 4 / sent,
        reduction_vs_packed=None if bits is None else bits / 8 / sent,
    )


def mean_exit_timestep(cell: Cell) -> float | None:
    """Mean timestep, counted from 1, at which answered requests stopped; None for a cell without an exit."""
    if cell.manifest.exit is None:
        return None
    return float(_answered(cell)["exit_timestep"].mean())


def compression(cell: Cell) -> float | None:
    """Nominal, per timestep: 32·C·H·W over the bits of the code; None where no code is sent."""
    return cell.manifest.model.compression if cell.manifest.sends == "code" else None


def measure(cells: Sequence[Cell]) -> list[Measured]:
    """All numbers of all cells. A hole in one cell's record is that cell's problem alone."""
    measured = [_measure(cell) for cell in cells]
    return [_compared(one, baseline_of(one, measured)) for one in measured]


def baseline_of(one: Measured, measured: Sequence[Measured]) -> Measured | None:
    """The first complete baseline on the same data set, backbone and edge, in the file's order."""
    for other in measured:
        if other.cell.manifest.config.baseline and other.cell.complete and _kin(one) == _kin(other):
            return other
    return None


def _measure(cell: Cell) -> Measured:
    if not cell.complete:
        return Measured(cell)
    try:
        numbers = Measured(
            cell,
            accuracy=accuracy(cell),
            latency=latency(cell),
            stages_ms=stages_ms(cell),
            traffic=traffic(cell),
            code=code_bits(cell),
            mean_exit_timestep=mean_exit_timestep(cell),
            compression=compression(cell),
            op_count=op_count(cell),
        )
    except RecordError as error:
        return Measured(cell, problems=(str(error),))
    problems = []
    energies: dict[str, Energy | None] = {}
    roles: tuple[Role, ...] = ("edge", "cloud")
    for role in roles:
        energies[role], problem = _energy(cell, role)
        problems += [problem] if problem else []
    return replace(numbers, energy=energies["edge"], cloud_energy=energies["cloud"], problems=tuple(problems))


def _energy(cell: Cell, role: Role) -> tuple[Energy | None, str]:
    if role == "cloud" and cell.manifest.sends == "nothing":
        return None, ""
    try:
        return energy(cell, role), ""
    except RecordError as error:
        return None, f"no {role} energy: {error}"


def _compared(one: Measured, baseline: Measured | None) -> Measured:
    if baseline is None or not one.cell.complete:
        return one
    drop = speedup = saving = None
    if one.accuracy and baseline.accuracy:
        drop = 100 * (baseline.accuracy.fraction - one.accuracy.fraction)
    if one.latency and baseline.latency:
        speedup = baseline.latency.p50_ms / one.latency.p50_ms
    if one.energy and baseline.energy and one.energy.source == baseline.energy.source:
        saving = 100 * (1 - one.energy.gross.mean / baseline.energy.gross.mean)
    doubtful = baseline is not one and baseline.valid is not True
    return replace(one, comparison=Comparison(baseline.label, doubtful, drop, speedup, saving))


def _kin(one: Measured) -> tuple[object, ...]:
    manifest = one.cell.manifest
    data, model = manifest.dataset, manifest.model
    edges = [node.id for node in manifest.role("edge")]
    return data.name, data.variant, model.backbone, edges


def _answered(cell: Cell) -> pd.DataFrame:
    rows = cell.requests
    rows = rows[rows["outcome"] == "ok"]
    if rows.empty:
        raise RecordError(f"{cell.folder}: none of its requests was answered")
    return rows
