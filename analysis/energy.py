"""Energy per request from power samples: a trapezoid over the window of a repeat's requests.

A repeat's window runs from its first `t_start_ns` to its last `t_end_ns`, on the edge's clock. Its energy is
divided by the number of requests in it, also those that failed, since they cost energy too. Gross is all
that the node drew; net is gross less the idle baseline (mean power before and after) over the same window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats import Interval, over_repeats
from testbed.errors import RecordError
from testbed.record.reader import Cell

EnergySource = Literal["measured", "emulated"]

_NS_PER_S = 1e9
# A sensor may report a sum beside its parts (VDD_IN, VDD_CPU_GPU_CV): only the widest scope is added up.
_WIDEST_FIRST = ("wall", "board", "module", "rail", "emulated")


@dataclass(frozen=True)
class Phase:
    """What a node was doing from `start_ns` to `end_ns` of its own clock."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Trace:
    """Power of one rail over time: `t_ns` ascending, `mw` alike in length."""

    t_ns: NDArray[np.int64]
    mw: NDArray[np.float64]


@dataclass(frozen=True)
class Meter:
    """The power source that speaks for a node: its rails of the widest scope, which are added up."""

    node: str
    source: str
    scope: str
    rails: Mapping[str, Trace]

    @property
    def energy_source(self) -> EnergySource:
        """Whether a sensor or a model gave the samples."""
        return "emulated" if self.scope == "emulated" else "measured"

    def energy_mj(self, start_ns: int, end_ns: int) -> float:
        """Energy of all rails over a window, mJ.

        Raises:
            RecordError: the samples of a rail do not cover the window.
        """
        total = 0.0
        for rail, trace in self.rails.items():
            total += self._rail_mj(rail, trace, start_ns, end_ns)
        return total

    def _rail_mj(self, rail: str, trace: Trace, start_ns: int, end_ns: int) -> float:
        try:
            return integrate(trace.t_ns, trace.mw, start_ns, end_ns)
        except RecordError as error:
            raise RecordError(f"{self.node}: {self.source} {rail}: {error}") from error

    def idle_mw(self, phase: Phase) -> float:
        """Mean power between the first and the last sample of an idle phase, mW.

        Raises:
            RecordError: a rail has fewer than two samples in it.
        """
        total = 0.0
        for rail, trace in self.rails.items():
            inside = trace.t_ns[(trace.t_ns >= phase.start_ns) & (trace.t_ns <= phase.end_ns)]
            if len(inside) < 2 or inside[0] == inside[-1]:
                raise RecordError(
                    f"{self.node}: {self.source} {rail}: fewer than two samples in {phase.name}; lengthen it"
                )
            first, last = int(inside[0]), int(inside[-1])
            total += integrate(trace.t_ns, trace.mw, first, last) / ((last - first) / _NS_PER_S)
        return total


@dataclass(frozen=True)
class Energy:
    """Energy per request of one node. `net` is None where no idle baseline was taken."""

    node: str
    source: EnergySource
    scope: str
    per_repeat_mj: tuple[float, ...]
    gross: Interval
    net: Interval | None
    idle_mw: float | None


def integrate(t_ns: ArrayLike, mw: ArrayLike, start_ns: int, end_ns: int) -> float:
    """Trapezoid of power samples over a window whose edges are interpolated, mJ.

    Args:
        t_ns: times of the samples, of one clock, in any order.
        mw: power at those times.
        start_ns: begin of the window on the same clock.
        end_ns: its end.

    Raises:
        RecordError: fewer than two samples, samples that do not cover the window, or an empty window.
    """
    times = np.asarray(t_ns, dtype=np.int64)
    power = np.asarray(mw, dtype=np.float64)
    if len(times) < 2:
        raise RecordError(f"{len(times)} power samples; an energy needs at least two")
    if end_ns <= start_ns:
        raise RecordError(f"the window from {start_ns} to {end_ns} ns is empty")
    if not np.isfinite(power).all():
        raise RecordError("some power samples are not numbers")
    order = np.argsort(times, kind="stable")
    times, power = times[order], power[order]
    if times[0] > start_ns or times[-1] < end_ns:
        late, early = (max(0, int(gap)) / 1e6 for gap in (times[0] - start_ns, end_ns - times[-1]))
        raise RecordError(
            f"power samples do not cover the window: {late:.3f} ms short at its start, {early:.3f} at its end"
        )
    # Seconds from the window's start: nanoseconds since boot lose digits as floats.
    seconds = (times - start_ns) / _NS_PER_S
    length = (end_ns - start_ns) / _NS_PER_S
    inside = (seconds > 0) & (seconds < length)
    edges = np.interp([0.0, length], seconds, power)
    x = np.concatenate(([0.0], seconds[inside], [length]))
    y = np.concatenate((edges[:1], power[inside], edges[1:]))
    return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)))


def node_name(cell: Cell, role: str) -> str:
    """The name that a role's rows carry.

    Raises:
        RecordError: the manifest has no such role.
    """
    try:
        return str(cell.manifest.nodes[role]["name"])
    except KeyError as error:
        raise RecordError(f"{cell.folder}: its manifest names no {role} node") from error


def meter(cell: Cell, role: str = "edge") -> Meter | None:
    """The power source of a node: the first that its profile lists, or None where the node is not metered.

    Raises:
        RecordError: the profile lists a source that recorded nothing.
    """
    if role not in cell.manifest.nodes:
        return None
    node = node_name(cell, role)
    profile: dict[str, Any] = cell.manifest.nodes[role].get("profile") or {}
    listed = profile.get("power") or []
    if not listed:
        return None
    source = str(listed[0]["source"])
    rows = cell.power
    rows = rows[(rows["node"] == node) & (rows["source"] == source)]
    if rows.empty:
        raise RecordError(f"{node}: its power source {source} recorded nothing; testbed check says what it can read")
    scopes = set(rows["scope"])
    scope = next(scope for scope in _WIDEST_FIRST if scope in scopes)
    rails: dict[str, Trace] = {}
    for rail, samples in rows[rows["scope"] == scope].sort_values("t_ns").groupby("rail"):
        rails[str(rail)] = Trace(samples["t_ns"].to_numpy(np.int64), samples["mw"].to_numpy(np.float64))
    return Meter(node, source, scope, rails)


def phases(cell: Cell, node: str, repeat: int) -> list[Phase]:
    """The phases of a repeat on a node, in time; each lasts until the next, `end` closes the last."""
    marks = sorted(
        (event.t_ns, str(event.detail["phase"]))
        for event in cell.events
        if event.event == "phase" and event.node == node and event.repeat == repeat
    )
    return [Phase(name, start, end) for (start, name), (end, _) in pairwise(marks) if end > start]


def windows(cell: Cell) -> dict[int, tuple[int, int, int]]:
    """Per repeat: start and end of its requests' window (ns, the edge's clock), and how many they are."""
    found = {}
    for repeat, rows in cell.requests.groupby("repeat"):
        found[int(str(repeat))] = (int(rows["t_start_ns"].min()), int(rows["t_end_ns"].max()), len(rows))
    if not found:
        raise RecordError(f"{cell.folder}: holds no requests")
    return found


def energy(cell: Cell, role: str = "edge") -> Energy | None:
    """Energy per request of a node, or None where the node is not metered.

    The cloud's window is the edge's, carried over with the recorded clock offsets; it has no net energy.

    Raises:
        RecordError: samples, idle phases or clock offsets that should be there are not.
    """
    source = meter(cell, role)
    if source is None:
        return None
    gross, net, idle = [], [], []
    for repeat, (start_ns, end_ns, count) in windows(cell).items():
        shift_ns = 0 if role == "edge" else _clock_shift_ns(cell, role, repeat)
        total = source.energy_mj(start_ns + shift_ns, end_ns + shift_ns)
        gross.append(total / count)
        # Only the edge says when its idle phases end.
        baseline = _idle_mw(cell, source, repeat) if role == "edge" else None
        if baseline is not None:
            idle.append(baseline)
            net.append((total - baseline * (end_ns - start_ns) / _NS_PER_S) / count)
    has_idle = len(net) == len(gross)
    return Energy(
        node=source.node,
        source=source.energy_source,
        scope=source.scope,
        per_repeat_mj=tuple(gross),
        gross=over_repeats(gross),
        net=over_repeats(net) if has_idle else None,
        idle_mw=sum(idle) / len(idle) if has_idle else None,
    )


def _idle_mw(cell: Cell, source: Meter, repeat: int) -> float | None:
    """The mean of idle power before and after a repeat, or None where neither was taken."""
    found = {phase.name: phase for phase in phases(cell, source.node, repeat)}
    idle = [found[name] for name in ("idle_before", "idle_after") if name in found]
    if not idle:
        return None
    if len(idle) == 1:
        raise RecordError(f"{source.node}: repeat {repeat} has {idle[0].name} but not the other idle baseline")
    return sum(source.idle_mw(phase) for phase in idle) / 2


def _clock_shift_ns(cell: Cell, role: str, repeat: int) -> int:
    """What to add to the edge's time to get the node's, from both nodes' offsets against the orchestrator."""
    offsets = []
    for name in (node_name(cell, role), node_name(cell, "edge")):
        found = [estimate.offset_ns for estimate in cell.clock if estimate.node == name and estimate.repeat == repeat]
        if not found:
            raise RecordError(f"{name}: no clock offset in repeat {repeat}, so its energy cannot be placed in time")
        offsets.append(sum(found) / len(found))
    return round(offsets[0] - offsets[1])
