"""One repeat of a cell over time: what its data connection carried, its requests, its outages and its faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.measured import Measured
from testbed.record.power import window

if TYPE_CHECKING:
    import pandas as pd

GAP_S = 0.5
"""Without a reading for so long, which is ten of them, the connection was down."""
_TOUCHING_S = 0.1

Floats: TypeAlias = NDArray[np.float64]
Spans: TypeAlias = list[tuple[float, float]]


@dataclass(frozen=True)
class Trace:
    """Counters of the shaped path in one repeat; seconds since its first request, bytes as the edge sees them."""

    s: Floats
    up: Floats
    down: Floats
    rtt_ms: Floats

    @property
    def gaps(self) -> Spans:
        """Where there are no readings, since the connection was down."""
        before = np.flatnonzero(np.diff(self.s) > GAP_S)
        return [(float(self.s[at]), float(self.s[at + 1])) for at in before]


def first_requests(one: Measured) -> pd.DataFrame:
    """Those of the first edge in the first repeat, in time."""
    rows = one.cell.requests
    edge = one.cell.manifest.role("edge")[0]
    rows = rows[(rows["node"] == edge.id) & (rows["repeat"] == rows["repeat"].min())]
    ordered: pd.DataFrame = rows.sort_values("t_start_ns")
    return ordered


def trace_of(one: Measured) -> Trace | None:
    """The counters of the edge, or of the cloud where the shaper is beside it; None where there are none."""
    manifest, requests = one.cell.manifest, first_requests(one)
    edge = manifest.role("edge")[0]
    repeat = int(requests["repeat"].iloc[0])
    for node in (edge, *manifest.role("cloud")):
        rows = one.cell.network
        rows = rows[(rows["node"] == node.id) & (rows["interface"] == "data")].sort_values("t_ns")
        if rows.empty:
            continue
        inside = window(one.cell, node, repeat)
        seconds = (rows["t_ns"].to_numpy(np.int64) - inside.start_ns) / 1e9
        near = (seconds > -1) & (seconds < inside.seconds + 1)
        if near.sum() < 2:
            continue
        sides = ("tx_bytes", "rx_bytes") if node is edge else ("rx_bytes", "tx_bytes")
        up, down = (_growing(rows[name].to_numpy(np.float64)[near]) for name in sides)
        return Trace(seconds[near], up, down, rows["rtt_ms"].to_numpy(np.float64)[near])
    return None


def _growing(counter: Floats) -> Floats:
    """A counter that begins anew with its process, such as one that was killed, as one that goes on."""
    steps = np.diff(counter, prepend=counter[0])
    return np.cumsum(np.where(steps < 0, counter, steps))


def outages_of(requests: pd.DataFrame, starts: Floats, ends: Floats, trace: Trace) -> dict[str, Spans]:
    """When the cloud did not answer, by how it went on. `starts` and `ends` are the requests', in its seconds."""
    lost = (requests["outcome"] != "ok").to_numpy(bool)
    by_edge = ~lost & (requests["answered_by"] == "edge").to_numpy(bool)
    return {
        "not answered": _merged(zip(starts[lost], ends[lost], strict=True)),
        "answered by the edge": _merged(zip(starts[by_edge], ends[by_edge], strict=True)),
        "no connection": trace.gaps,
    }


def faults_of(one: Measured, origin: int, end_s: float) -> Spans:
    """When faults were played, on the edge's clock; one without an end lasted to the end."""
    manifest, repeat = one.cell.manifest, int(first_requests(one)["repeat"].iloc[0])
    edge = manifest.role("edge")[0].id
    lines = [line for line in one.cell.clock_lines if line.node == edge and line.repeat == repeat]
    spans = []
    for fault in manifest.faults.get(str(repeat), []) if lines else []:
        start, end = (
            end_s if t_ns is None else (t_ns + lines[0].offset_ns - origin) / 1e9
            for t_ns in (fault.from_ns, fault.until_ns)
        )
        spans.append((start, end))
    return spans


def asked_of(one: Measured) -> Mapping[str, Mapping[str, Any]]:
    """What was asked of each direction of the link; empty where nothing was."""
    requested = one.cell.manifest.link.requested
    return {} if requested is None else {side: requested[side] for side in ("up", "down") if side in requested}


def _merged(spans: Iterable[tuple[float, float]]) -> Spans:
    """Spans in time, with those that nearly touch as one."""
    merged: Spans = []
    for start, end in spans:
        if merged and start - merged[-1][1] < _TOUCHING_S:
            merged[-1] = (merged[-1][0], float(end))
        else:
            merged.append((float(start), float(end)))
    return merged
