"""One view of the power that a cell's nodes drew, which energy and validity share.

A node's source speaks for it through the rails of its widest scope, which add up. In each repeat there is a window,
in which the requests ran, and there may be idle phases around it. Both are on the node's own clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from devices.base.power import Scope, widest
from testbed.errors import RecordError
from testbed.record.metering import Sensor, sensor
from testbed.record.noderecord import NodeRecord
from testbed.record.reader import Cell
from testbed.record.trapezoid import Trace


@dataclass(frozen=True)
class Phase:
    """What a node was doing from `start_ns` to `end_ns` of its own clock."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Source:
    """What one power source of a node recorded in all repeats: its rails of the widest scope."""

    node: str
    name: str
    scope: Scope
    sensor: Sensor
    period_ms: float
    rails: Mapping[str, Trace]

    def settled(self, rail: str, phase: Phase) -> Trace:
        """A rail's samples in a phase of rest.

        An averaging time at either end is left out: there the sensor still sees, or already sees, something else.
        """
        settle_ns = round(1e9 * self.sensor.averaging_s)
        return self.rails[rail].between(phase.start_ns + settle_ns, phase.end_ns - settle_ns)


@dataclass(frozen=True)
class Window:
    """A repeat on a node: from the begin of its first request to the end of its last, and the idle phases around.

    `bound_ns` is how far off the window itself may lie: 0 on the edge, whose clock stamps the requests.
    """

    start_ns: int
    end_ns: int
    requests: int
    bound_ns: float = 0.0
    idle: tuple[Phase, ...] = field(default=())

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9

    def inside(self, trace: Trace) -> Trace:
        """The samples of a rail in the window."""
        return trace.between(self.start_ns, self.end_ns)

    def readings(self, source: Source, rail: str) -> float:
        """Independent readings of a rail in the window."""
        return source.sensor.readings(len(self.inside(source.rails[rail]).t_ns), self.seconds)


@dataclass(frozen=True)
class LeftOut:
    """Readings of a rail in one repeat that its sampler left out, because nothing can draw that.

    `counts` says whether the rail is one of those that make up the node, `share` is of the rail's readings.
    """

    source: str
    repeat: str
    rail: str
    readings: int
    share: float
    max_mw: float | None
    counts: bool


def left_out(node: NodeRecord) -> Iterator[LeftOut]:
    """What was left out of a node's power, by repeat, source and rail."""
    for repeat, said in node.repeats.items():
        rails = {source.source: {rail.name: rail for rail in source.rails} for source in said.loaded.power}
        for source in [] if said.finished.sampler is None else said.finished.sampler.sources:
            known = rails.get(source.source, {})
            whole = widest([rail.scope for rail in known.values()]) if known else None
            for rail, readings in source.implausible.items():
                share = readings / (readings + source.samples / max(1, len(source.rails)))
                limit = known[rail].max_mw if rail in known else None
                counts = rail not in known or known[rail].scope == whole
                yield LeftOut(source.source, repeat, rail, readings, share, limit, counts)


def source_names(node: NodeRecord) -> list[str]:
    """The power sources that a node's profile lists; the first speaks for it."""
    return [spec.source for spec in node.profile.power]


def recorded(cell: Cell, node: NodeRecord, name: str) -> Source | None:
    """What a source recorded of a node; None where it recorded nothing.

    Raises:
        RecordError: how well it measures is not in the manifest, or the samples cannot be read.
    """
    rows = cell.power
    chosen = ((rows["node"] == node.id) & (rows["source"] == name)).to_numpy(bool)
    if not chosen.any():
        return None
    scope = widest(set(rows["scope"][chosen].unique()))
    chosen = chosen & (rows["scope"] == scope).to_numpy(bool)
    rails: dict[str, Trace] = {}
    for rail in sorted(rows["rail"][chosen].unique()):
        of_rail = chosen & (rows["rail"] == rail).to_numpy(bool)
        t_ns, mw = rows["t_ns"].to_numpy(np.int64)[of_rail], rows["mw"].to_numpy(np.float64)[of_rail]
        order = np.argsort(t_ns, kind="stable")
        rails[str(rail)] = Trace(t_ns[order], mw[order])
    rate_hz = next(spec.rate_hz for spec in node.profile.power if spec.source == name)
    return Source(node.id, name, scope, sensor(node, name), 1000 / rate_hz, rails)


def phases(cell: Cell, node: str, repeat: int) -> list[Phase]:
    """The phases of a repeat on a node, in time; each lasts until the next, `end` closes the last."""
    marks = sorted(
        (event.t_ns, str(event.detail["phase"]))
        for event in cell.events
        if event.event == "phase" and event.node == node and event.repeat == repeat
    )
    return [Phase(name, start, end) for (start, name), (end, _) in pairwise(marks) if end > start]


def repeats(cell: Cell) -> list[int]:
    """The repeats of which there are requests."""
    return sorted(int(repeat) for repeat in cell.requests["repeat"].unique())


def window(cell: Cell, node: NodeRecord, repeat: int) -> Window:
    """A repeat's window on a node.

    An edge's is that of its own requests, with the idle phases before and after. The cloud's is that of all edges,
    carried over with the recorded clock offsets; it has no idle phases, as it does not say when they end.

    Raises:
        RecordError: there are no requests, one idle phase of two, or a clock offset is missing.
    """
    edges = [node] if node.role == "edge" else cell.manifest.role("edge")
    found = [_on_clock_of(cell, node, edge, repeat) for edge in edges]
    return Window(
        start_ns=min(each.start_ns for each in found),
        end_ns=max(each.end_ns for each in found),
        requests=sum(each.requests for each in found),
        bound_ns=max(each.bound_ns for each in found),
        idle=_idle(cell, node.id, repeat) if node.role == "edge" else (),
    )


def _on_clock_of(cell: Cell, node: NodeRecord, edge: NodeRecord, repeat: int) -> Window:
    rows = cell.requests
    own = np.flatnonzero(rows["repeat"].to_numpy() == repeat)
    own = own[(rows["node"].take(own) == edge.id).to_numpy(bool)]
    if not len(own):
        raise RecordError(f"{cell.folder}: holds no requests of {edge.id} in repeat {repeat}")
    start_ns, end_ns = int(rows["t_start_ns"].to_numpy()[own].min()), int(rows["t_end_ns"].to_numpy()[own].max())
    shift_ns, bound_ns = (0, 0.0) if node is edge else _clock_shift(cell, node, edge, repeat, end_ns - start_ns)
    return Window(start_ns + shift_ns, end_ns + shift_ns, len(own), bound_ns)


def _idle(cell: Cell, node: str, repeat: int) -> tuple[Phase, ...]:
    """The idle phases before and after a repeat; empty where neither was taken."""
    found = {phase.name: phase for phase in phases(cell, node, repeat)}
    idle = [found[name] for name in ("idle_before", "idle_after") if name in found]
    if len(idle) == 1:
        raise RecordError(f"{node}: repeat {repeat} has {idle[0].name} but not the other idle baseline")
    return tuple(idle)


def _clock_shift(cell: Cell, node: NodeRecord, edge: NodeRecord, repeat: int, window_ns: int) -> tuple[int, float]:
    """What to add to the edge's time to get the node's, and its bound, from both nodes' clocks against ours."""
    offsets, bounds = [], []
    for name in (node.id, edge.id):
        lines = [line for line in cell.clock_lines if line.node == name and line.repeat == repeat]
        if not lines:
            raise RecordError(f"{name}: no clock offset in repeat {repeat}, so its power cannot be placed in time")
        offsets.append(lines[0].offset_ns)
        # The offset is that of the middle of the repeat; a window's end is half a window from there.
        drift_ppm = abs(lines[0].skew_ppm) + lines[0].skew_bound_ppm
        bounds.append(lines[0].bound_ns + drift_ppm * 1e-6 * window_ns / 2)
    return offsets[0] - offsets[1], sum(bounds)
