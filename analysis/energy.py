"""Energy per request from power samples: a trapezoid over the window of a repeat's requests, and its 95% interval.

A repeat's window runs from its first `t_start_ns` to its last `t_end_ns`, on the edge's clock. Its energy is
divided by the number of requests in it, also those that failed, since they cost energy too. Gross is all
that the node drew; net is gross less the idle baseline (mean power before and after) over the same window.
A window that the sensor cannot carry is an error: no energy is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis.sampling import edge_limit_mj, same_code_s2
from analysis.uncertainty import Budget, PartName, budget, quantisation, rectangular
from testbed.errors import RecordError
from testbed.record.documents import NodeRecord
from testbed.record.metering import MIN_READINGS
from testbed.record.power import Phase, Source, Window, recorded, repeats, source_names, window
from testbed.record.reader import Cell
from testbed.record.trapezoid import weights

EnergySource: TypeAlias = Literal["measured", "emulated"]

KINDS: tuple[EnergySource, ...] = ("measured", "emulated")
"""The kinds of energy, which never share a column or an axis."""


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
class Energy:
    """Energy per request of one node. `net` is None where no idle baseline was taken."""

    node: str
    source: EnergySource
    scope: str
    per_repeat_mj: Mapping[int, float]
    gross: Budget
    net: Budget | None
    idle_mw: float | None


def energy(cell: Cell, node: NodeRecord) -> Energy | None:
    """Energy per request of a node by the first source of its profile, or None where the node is not metered.

    Raises:
        RecordError: samples, idle phases or clock offsets that should be there are not.
    """
    source = meter(cell, node)
    if source is None:
        return None
    windows = {repeat: window(cell, node, repeat) for repeat in repeats(cell)}
    if not windows:
        raise RecordError(f"{cell.folder}: holds no requests")
    return combine(source, {repeat: draw(source, each).per(each.requests) for repeat, each in windows.items()})


def meter(cell: Cell, node: NodeRecord) -> Source | None:
    """The power source of a node: the first that its profile lists, or None where the node is not metered.

    Raises:
        RecordError: the profile lists a source that recorded nothing, or its limits are not in the manifest.
    """
    names = source_names(node)
    if not names:
        return None
    source = recorded(cell, node, names[0])
    if source is None:
        raise RecordError(
            f"{node.id}: its power source {names[0]} recorded nothing; testbed check says what it can read"
        )
    return source


def combine(source: Source, draws: Mapping[int, Draw]) -> Energy:
    """Energy per request from that of each repeat."""
    every = list(draws.values())
    nets = [(draw.net_mj, draw.net_parts) for draw in every if draw.net_mj is not None and draw.net_parts is not None]
    idle = [draw.idle_mw for draw in every if draw.idle_mw is not None]
    has_idle = len(nets) == len(draws)
    return Energy(
        node=source.node,
        source="emulated" if source.scope == "emulated" else "measured",
        scope=source.scope,
        per_repeat_mj={repeat: draw.gross_mj for repeat, draw in draws.items()},
        gross=budget([draw.gross_mj for draw in every], [draw.gross_parts for draw in every]),
        net=budget([value for value, _ in nets], [parts for _, parts in nets]) if has_idle else None,
        idle_mw=sum(idle) / len(idle) if has_idle else None,
    )


def draw(source: Source, window: Window) -> Draw:
    """Energy of all rails over a window, with what is uncertain about it; net where the window has idle phases.

    Gains, offsets and edges of the rails add up linearly, as fully correlated errors do (JCGM 100:2008, 5.2.2):
    the rails share a converter, or resistors of one batch, and a window. Their roundings are independent.

    Raises:
        RecordError: the samples of a rail do not cover the window or an idle phase, or are too few.
    """
    seconds = window.seconds
    gross = net = gain = net_gain = offset = edges = lsb2 = idle_lsb2 = 0.0
    levels = [0.0 for _ in window.idle]
    for rail, trace in source.rails.items():
        try:
            limits = source.sensor.limits(rail)
            weight = _window_weights(source, rail, window)
            rests = [_idle_weights(source, rail, phase) for phase in window.idle]
        except RecordError as error:
            raise RecordError(f"{source.node}: {source.name} {rail}: {error}") from error
        energy_mj = float(weight @ trace.mw)
        means = [float(rest @ trace.mw) for rest in rests]
        over_idle = energy_mj - sum(means) / max(1, len(means)) * seconds
        gross, net = gross + energy_mj, net + over_idle
        levels = [level + mean for level, mean in zip(levels, means, strict=True)]
        gain += limits.gain * abs(energy_mj)
        net_gain += limits.gain * abs(over_idle)
        offset += limits.offset_mw * seconds
        bound_s = window.bound_ns / 1e9
        edges += edge_limit_mj(trace, window.start_ns, window.end_ns, source.sensor.averaging_s, bound_s)
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
    if not window.idle:
        return Draw(gross, gross_parts)
    # The offset is in the baseline too, and cancels.
    net_parts: dict[PartName, float] = {
        "gain": rectangular(net_gain),
        "lsb": math.sqrt(lsb2 + idle_lsb2),
        "edges": rectangular(edges),
        "drift": rectangular((max(levels) - min(levels)) / 2 * seconds),
    }
    return Draw(gross, gross_parts, net, net_parts, sum(levels) / len(levels))


def _window_weights(source: Source, rail: str, window: Window) -> NDArray[np.float64]:
    trace = source.rails[rail]
    weight = weights(trace.t_ns, window.start_ns, window.end_ns)
    if not np.isfinite(trace.mw).all():
        raise RecordError("some power samples are not numbers")
    if (readings := window.readings(source, rail)) < MIN_READINGS:
        raise RecordError(
            f"{readings:.1f} independent readings in a window of {window.seconds:.2f} s "
            f"({len(window.inside(trace).t_ns)} samples, each averaged over {1e3 * source.sensor.averaging_s:g} ms; "
            f"limit {MIN_READINGS}); measure more requests"
        )
    return weight


def _idle_weights(source: Source, rail: str, phase: Phase) -> NDArray[np.float64]:
    """The weights that give the mean power of an idle phase."""
    inside = source.settled(rail, phase).t_ns
    if len(inside) < 2 or inside[0] == inside[-1]:
        raise RecordError(
            f"fewer than two samples in {phase.name}, of which the first and the last "
            f"{1e3 * source.sensor.averaging_s:g} ms do not count; lengthen it (idle_s)"
        )
    first, last = int(inside[0]), int(inside[-1])
    return weights(source.rails[rail].t_ns, first, last) / ((last - first) / 1e9)
