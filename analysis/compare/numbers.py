"""The numbers of a cell that are compared, one for each repeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.alike import Alike
from analysis.energy import Energy, EnergySource, energy
from analysis.uncertainty import Budget
from testbed.record.noderecord import NodeRecord
from testbed.record.queue import throughput_qps
from testbed.record.reader import Cell


@dataclass(frozen=True)
class Number:
    """One number of a cell in each repeat.

    `systematic` is a standard uncertainty that all repeats share, such as a sensor's gain. It cancels between cells
    that the same sensor metered; `sensor` names that one. `kind` is of an energy.
    """

    unit: str
    per_repeat: Mapping[int, float]
    systematic: float = 0.0
    sensor: str = ""
    kind: EnergySource | None = None


def numbers(cell: Cell) -> dict[str, Number]:
    """The numbers of a cell by their names; what does not apply is left out.

    Raises:
        RecordError: the record has a hole.
    """
    found = {name: of(cell) for name, of in NUMBERS.items()}
    return {name: number for name, number in found.items() if number is not None}


def _accuracy(cell: Cell) -> Number:
    rows = cell.requests
    right = (rows["outcome"] == "ok") & (rows["prediction"] == rows["label"])
    return Number("fraction", Alike(rows).per_repeat(right.to_numpy(dtype=bool, na_value=False)))


def _latency(percent: int) -> Callable[[Cell], Number | None]:
    def of(cell: Cell) -> Number | None:
        rows = cell.requests[cell.requests["outcome"] == "ok"]
        if rows.empty:
            return None
        return Number("ms", Alike(rows).percentiles_per_repeat(rows["latency_ms"].to_numpy(np.float64), percent))

    return of


def _server_p99(cell: Cell) -> Number | None:
    return _latency(99)(cell) if cell.manifest.config.scenario.kind == "server" else None


def _throughput(cell: Cell) -> Number | None:
    if cell.manifest.config.scenario.kind == "single_stream":
        return None
    return Number("1/s", throughput_qps(cell))


def _energy(cell: Cell) -> Number | None:
    node = cell.manifest.role("edge")[0]
    found = energy(cell, node)
    return None if found is None else _metered(node, found, found.gross, found.per_repeat_mj)


def _energy_net(cell: Cell) -> Number | None:
    node = cell.manifest.role("edge")[0]
    found = energy(cell, node)
    if found is None or found.net is None or found.net_per_repeat_mj is None:
        return None
    return _metered(node, found, found.net, found.net_per_repeat_mj)


def _metered(node: NodeRecord, found: Energy, total: Budget, per_repeat_mj: Mapping[int, float]) -> Number:
    systematic = math.hypot(*(value for part, value in total.standard.items() if part != "repeats"))
    sensor = f"{found.node} {node.profile.power[0].source} {found.scope}"
    return Number("mJ", per_repeat_mj, systematic, sensor, found.source)


def _mean(column: str, unit: str, applies: Callable[[Cell], bool]) -> Callable[[Cell], Number | None]:
    """The mean of a column of answered requests, of those that have it."""

    def of(cell: Cell) -> Number | None:
        rows = cell.requests[(cell.requests["outcome"] == "ok") & cell.requests[column].notna()]
        if rows.empty or not applies(cell):
            return None
        return Number(unit, Alike(rows).per_repeat(rows[column].to_numpy(np.float64)))

    return of


def _sends(cell: Cell) -> bool:
    return cell.manifest.sends != "nothing"


NUMBERS: Mapping[str, Callable[[Cell], Number | None]] = {
    "accuracy": _accuracy,
    "mean_exit_timestep": _mean("exit_timestep", "timestep", lambda cell: cell.manifest.mode_facts.exits),
    "payload_up_bytes": _mean("payload_up_bytes", "B", _sends),
    "wire_up_bytes": _mean("wire_up_bytes", "B", _sends),
    "latency_p50_ms": _latency(50),
    "latency_p95_ms": _latency(95),
    "latency_p99_ms": _server_p99,
    "throughput_qps": _throughput,
    "energy_mj": _energy,
    "energy_net_mj": _energy_net,
}
"""By the names of `summary.csv`. Energy is the edge's: gross, and net of the idle baseline where one was taken."""
