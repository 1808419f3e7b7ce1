"""Energy per request from power samples: a trapezoid over the window of a repeat's requests, and its 95% interval.

A repeat's window runs from its first `t_start_ns` to its last `t_end_ns`, on the edge's clock. Its energy is
divided by the number of requests in it, also those that failed, since they cost energy too. Gross is all
that the node drew; net is gross less the idle baseline (mean power before and after) over the same window.
A window that the sensor cannot carry is an error: no energy is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.trapezoid import Trace, edge_limit_mj, same_code_s2, weights
from analysis.uncertainty import Budget, PartName, budget, quantisation, rectangular
from devices.base.power import widest
from testbed.errors import RecordError
from testbed.record.documents import NodeRecord, Role
from testbed.record.metering import MIN_READINGS, Sensor, sensor
from testbed.record.reader import Cell

EnergySource = Literal["measured", "emulated"]

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Phase:
    """What a node was doing from `start_ns` to `end_ns` of its own clock."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Draw:
    """What a node drew in one window, mJ, and the standard uncertainties of both numbers; net is None without idle."""

    gross_mj: float
    gross_parts: Mapping[PartName, float]
    net_mj: float | None = None
    net_parts: Mapping[PartName, float] | None = None
    idle_mw: float | None = None

    def per(self, requests: int) -> Draw:
        """The same for one of so many requests."""
        return Draw(
            self.gross_mj / requests,
            {name: value / requests for name, value in self.gross_parts.items()},
            None if self.net_mj is None else self.net_mj / requests,
            None if self.net_parts is None else {name: value / requests for name, value in self.net_parts.items()},
            self.idle_mw,
        )


@dataclass(frozen=True)
class Meter:
    """The power source that speaks for a node: its rails of the widest scope, which are added up."""

    node: str
    source: str
    scope: str
    rails: Mapping[str, Trace]
    sensor: Sensor

    @property
    def energy_source(self) -> EnergySource:
        """Whether a sensor or a model gave the samples."""
        return "emulated" if self.scope == "emulated" else "measured"

    def draw(self, start_ns: int, end_ns: int, idle: Sequence[Phase] = (), window_bound_ns: float = 0.0) -> Draw:
        """Energy of all rails over a window, with what is uncertain about it.

        Gains, offsets and edges of the rails add up linearly, as fully correlated errors do (JCGM 100:2008, 5.2.2):
        the rails share a converter, or resistors of one batch, and a window. Their roundings are independent.

        Args:
            start_ns: begin of the window, on the node's clock.
            end_ns: its end.
            idle: the idle phases whose mean power is the baseline of the net energy, before and after.
            window_bound_ns: how far off the window itself may lie on the node's clock.

        Raises:
            RecordError: the samples of a rail do not cover the window or an idle phase, or are too few.
        """
        seconds = (end_ns - start_ns) / _NS_PER_S
        gross = net = gain = net_gain = offset = edges = lsb2 = idle_lsb2 = 0.0
        levels = [0.0 for _ in idle]
        for rail, trace in self.rails.items():
            try:
                limits = self.sensor.limits(rail)
                weight = self._window_weights(trace, start_ns, end_ns)
                rests = [self._idle_weights(trace, phase) for phase in idle]
            except RecordError as error:
                raise RecordError(f"{self.node}: {self.source} {rail}: {error}") from error
            energy_mj = float(weight @ trace.mw)
            means = [float(rest @ trace.mw) for rest in rests]
            over_idle = energy_mj - sum(means) / max(1, len(means)) * seconds
            gross, net = gross + energy_mj, net + over_idle
            levels = [level + mean for level, mean in zip(levels, means, strict=True)]
            gain += limits.gain * abs(energy_mj)
            net_gain += limits.gain * abs(over_idle)
            offset += limits.offset_mw * seconds
            edges += edge_limit_mj(trace, start_ns, end_ns, self.sensor.averaging_s, window_bound_ns / _NS_PER_S)
            step2 = quantisation(limits.lsb_mw) ** 2
            lsb2 += step2 * same_code_s2(trace.mw, weight, limits.lsb_mw)
            for rest in rests:
                idle_lsb2 += step2 * same_code_s2(trace.mw, rest, limits.lsb_mw) * (seconds / len(rests)) ** 2
        gross_parts: dict[PartName, float] = {
            "gain": rectangular(gain),
            "offset": rectangular(offset),
            "lsb": math.sqrt(lsb2),
            "edges": rectangular(edges),
        }
        if not idle:
            return Draw(gross, gross_parts)
        # The offset is in the baseline too, and cancels.
        net_parts: dict[PartName, float] = {
            "gain": rectangular(net_gain),
            "lsb": math.sqrt(lsb2 + idle_lsb2),
            "edges": rectangular(edges),
            "drift": rectangular((max(levels) - min(levels)) / 2 * seconds),
        }
        return Draw(gross, gross_parts, net, net_parts, sum(levels) / len(levels))

    def _window_weights(self, trace: Trace, start_ns: int, end_ns: int) -> NDArray[np.float64]:
        weight = weights(trace.t_ns, start_ns, end_ns)
        if not np.isfinite(trace.mw).all():
            raise RecordError("some power samples are not numbers")
        seconds = (end_ns - start_ns) / _NS_PER_S
        samples = int(((trace.t_ns >= start_ns) & (trace.t_ns <= end_ns)).sum())
        if (readings := self.sensor.readings(samples, seconds)) < MIN_READINGS:
            raise RecordError(
                f"{readings:.1f} independent readings in a window of {seconds:.2f} s ({samples} samples, each averaged "
                f"over {1e3 * self.sensor.averaging_s:g} ms; limit {MIN_READINGS}); measure more requests"
            )
        return weight

    def _idle_weights(self, trace: Trace, phase: Phase) -> NDArray[np.float64]:
        """The weights that give the mean power of an idle phase.

        An averaging time at either end is left out: there the sensor still sees, or already sees, something else.
        """
        settle_ns = round(self.sensor.averaging_s * _NS_PER_S)
        low, high = phase.start_ns + settle_ns, phase.end_ns - settle_ns
        inside = trace.t_ns[(trace.t_ns >= low) & (trace.t_ns <= high)]
        if len(inside) < 2 or inside[0] == inside[-1]:
            raise RecordError(
                f"fewer than two samples in {phase.name}, of which the first and the last {settle_ns / 1e6:g} ms do "
                "not count; lengthen it (idle_s)"
            )
        first, last = int(inside[0]), int(inside[-1])
        return weights(trace.t_ns, first, last) / ((last - first) / _NS_PER_S)


@dataclass(frozen=True)
class Energy:
    """Energy per request of one node. `net` is None where no idle baseline was taken."""

    node: str
    source: EnergySource
    scope: str
    per_repeat_mj: tuple[float, ...]
    gross: Budget
    net: Budget | None
    idle_mw: float | None


def combine(meter: Meter, draws: Sequence[Draw]) -> Energy:
    """Energy per request from that of each repeat."""
    nets = [(draw.net_mj, draw.net_parts) for draw in draws if draw.net_mj is not None and draw.net_parts is not None]
    idle = [draw.idle_mw for draw in draws if draw.idle_mw is not None]
    has_idle = len(nets) == len(draws)
    return Energy(
        node=meter.node,
        source=meter.energy_source,
        scope=meter.scope,
        per_repeat_mj=tuple(draw.gross_mj for draw in draws),
        gross=budget([draw.gross_mj for draw in draws], [draw.gross_parts for draw in draws]),
        net=budget([value for value, _ in nets], [parts for _, parts in nets]) if has_idle else None,
        idle_mw=sum(idle) / len(idle) if has_idle else None,
    )


def node_of(cell: Cell, role: Role) -> NodeRecord:
    """The participant of a role.

    Raises:
        RecordError: the manifest has none.
    """
    nodes = cell.manifest.role(role)
    if not nodes:
        raise RecordError(f"{cell.folder}: its manifest names no {role} node")
    return nodes[0]


def meter(cell: Cell, role: Role = "edge") -> Meter | None:
    """The power source of a node: the first that its profile lists, or None where the node is not metered.

    Raises:
        RecordError: the profile lists a source that recorded nothing, or its limits are not in the manifest.
    """
    if not cell.manifest.role(role):
        return None
    record = node_of(cell, role)
    if not record.profile.power:
        return None
    node, source = record.id, record.profile.power[0].source
    rows = cell.power
    rows = rows[(rows["node"] == node) & (rows["source"] == source)]
    if rows.empty:
        raise RecordError(f"{node}: its power source {source} recorded nothing; testbed check says what it can read")
    scope = widest(set(rows["scope"]))
    rails: dict[str, Trace] = {}
    for rail, samples in rows[rows["scope"] == scope].sort_values("t_ns").groupby("rail"):
        rails[str(rail)] = Trace(samples["t_ns"].to_numpy(np.int64), samples["mw"].to_numpy(np.float64))
    return Meter(node, source, scope, rails, sensor(record, source))


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


def energy(cell: Cell, role: Role = "edge") -> Energy | None:
    """Energy per request of a node, or None where the node is not metered.

    The cloud's window is the edge's, carried over with the recorded clock offsets; it has no net energy.

    Raises:
        RecordError: samples, idle phases or clock offsets that should be there are not.
    """
    source = meter(cell, role)
    if source is None:
        return None
    draws = []
    for repeat, (start_ns, end_ns, count) in windows(cell).items():
        shift_ns, bound_ns = (0, 0.0) if role == "edge" else _clock_shift(cell, role, repeat, end_ns - start_ns)
        # Only the edge says when its idle phases end.
        idle = _idle_phases(cell, source.node, repeat) if role == "edge" else []
        draws.append(source.draw(start_ns + shift_ns, end_ns + shift_ns, idle, bound_ns).per(count))
    return combine(source, draws)


def _idle_phases(cell: Cell, node: str, repeat: int) -> list[Phase]:
    """The idle phases before and after a repeat; empty where neither was taken."""
    found = {phase.name: phase for phase in phases(cell, node, repeat)}
    idle = [found[name] for name in ("idle_before", "idle_after") if name in found]
    if len(idle) == 1:
        raise RecordError(f"{node}: repeat {repeat} has {idle[0].name} but not the other idle baseline")
    return idle


def _clock_shift(cell: Cell, role: Role, repeat: int, window_ns: int) -> tuple[int, float]:
    """What to add to the edge's time to get the node's, and its bound, from both nodes' clocks against ours."""
    offsets, bounds = [], []
    for name in (node_of(cell, role).id, node_of(cell, "edge").id):
        lines = [line for line in cell.clock_lines if line.node == name and line.repeat == repeat]
        if not lines:
            raise RecordError(f"{name}: no clock offset in repeat {repeat}, so its energy cannot be placed in time")
        offsets.append(lines[0].offset_ns)
        # The offset is that of the middle of the repeat; a window's end is half a window from there.
        drift_ppm = abs(lines[0].skew_ppm) + lines[0].skew_bound_ppm
        bounds.append(lines[0].bound_ns + drift_ppm * 1e-6 * window_ns / 2)
    return offsets[0] - offsets[1], sum(bounds)
