"""`summary.csv`: a row per cell, in the columns of `testbed.record.schema.SUMMARY_COLUMNS`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from analysis.metrics import Measured
from testbed.record.log import write_atomically
from testbed.record.schema import SUMMARY_COLUMNS


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One cell in numbers; the columns are those of the file, None is blank there."""

    cell: str
    label: str
    mode: str
    accuracy: float | None = None
    accuracy_drop_points: float | None = None
    accuracy_drop_points_lo: float | None = None
    accuracy_drop_points_hi: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_speedup: float | None = None
    latency_speedup_lo: float | None = None
    latency_speedup_hi: float | None = None
    energy_mj: float | None = None
    energy_mj_ci95: float | None = None
    energy_net_mj: float | None = None
    energy_saving_pct: float | None = None
    energy_saving_pct_lo: float | None = None
    energy_saving_pct_hi: float | None = None
    energy_source: str | None = None
    cloud_energy_mj: float | None = None
    energy_op_count_mj: float | None = None
    compression: float | None = None
    payload_up_bytes: float | None = None
    wire_up_bytes: float | None = None
    reduction_vs_float32: float | None = None
    reduction_vs_packed: float | None = None
    mean_exit_timestep: float | None = None
    valid: bool | None = None
    reasons: str = ""


def summary_row(one: Measured) -> SummaryRow:
    """The row of one cell. One that is not complete has its state in `reasons` and no numbers."""
    latency, energy, traffic, compared = one.latency, one.energy, one.traffic, one.comparison
    return SummaryRow(
        cell=one.cell.manifest.cell,
        label=one.label,
        mode=one.cell.manifest.mode,
        accuracy=one.accuracy.fraction if one.accuracy else None,
        accuracy_drop_points=compared.accuracy_drop_points if compared else None,
        latency_p50_ms=latency.p50_ms if latency else None,
        latency_p95_ms=latency.p95_ms if latency else None,
        latency_p99_ms=latency.p99_ms if latency else None,
        latency_speedup=compared.latency_speedup if compared else None,
        energy_mj=energy.gross.mean if energy else None,
        energy_mj_ci95=energy.gross.half if energy else None,
        energy_net_mj=energy.net.mean if energy and energy.net else None,
        energy_saving_pct=compared.energy_saving_pct if compared else None,
        energy_source=energy.source if energy else None,
        cloud_energy_mj=one.cloud_energy.gross.mean if one.cloud_energy else None,
        energy_op_count_mj=one.op_count.compute_mj if one.op_count else None,
        compression=one.compression,
        payload_up_bytes=traffic.payload_up_bytes if traffic else None,
        wire_up_bytes=traffic.wire_up_bytes if traffic else None,
        reduction_vs_float32=traffic.reduction_vs_float32 if traffic else None,
        reduction_vs_packed=traffic.reduction_vs_packed if traffic else None,
        mean_exit_timestep=one.mean_exit_timestep,
        valid=one.valid,
        reasons="; ".join(one.reasons),
    )


def write_summary(folder: Path, measured: Sequence[Measured]) -> Path:
    """Write `summary.csv`, a row per cell in their order; what does not apply is blank, never 0."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    writer.writerows([_field(value) for value in astuple(row)] for row in map(summary_row, measured))
    path = folder / "summary.csv"
    write_atomically(path, text.getvalue().encode())
    return path


def _field(value: str | float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
