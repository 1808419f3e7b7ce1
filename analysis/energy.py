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
from testbed.record.metering import MIN_READINGS
from testbed.record.noderecord import NodeRecord
from testbed.record.power import Phase, Source, Window, recorded, repeats, source_names, window
from testbed.record.reader import Cell
from testbed.record.trapezoid import Trace, weights

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
    """Energy per request of one node. `net`, and what goes with it, is None where no idle baseline was taken."""

    node: str
    source: EnergySource
    scope: str
    per_repeat_mj: Mapping[int, float]
    gross: Budget
    net: Budget | None
    net_per_repeat_mj: Mapping[int, float] | None
    idle_mw: float | None

    @property
    def mostly_idle(self) -> bool:
        """Whether the idle power is most of the mean power: then gross energies compare times more than work."""
        return self.net is not None and self.net.mean < self.gross.mean / 2


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
    net_mj = {repeat: draw.net_mj for repeat, draw in draws.items() if draw.net_mj is not None}
    net_parts = [draw.net_parts for draw in every if draw.net_parts is not None]
    idle = [draw.idle_mw for draw in every if draw.idle_mw is not None]
    has_idle = len(net_mj) == len(net_parts) == len(draws)
    return Energy(
        node=source.node,
        source="emulated" if source.scope == "emulated" else "measured",
        scope=source.scope,
        per_repeat_mj={repeat: draw.gross_mj for repeat, draw in draws.items()},
        gross=budget([draw.gross_mj for draw in every], [draw.gross_parts for draw in every]),
        net=budget(list(net_mj.values()), net_parts) if has_idle else None,
        net_per_repeat_mj=net_mj if has_idle else None,
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
            whole = _of_window(source, rail, window)
            rests = [_of_idle(source, rail, phase) for phase in window.idle]
        except RecordError as error:
            raise RecordError(f"{source.node}: {source.name} {rail}: {error}") from error
        energy_mj = whole.total
        means = [rest.total for rest in rests]
        over_idle = energy_mj - sum(means) / max(1, len(means)) * seconds
        gross, net = gross + energy_mj, net + over_idle
        levels = [level + mean for level, mean in zip(levels, means, strict=True)]
        gain += limits.gain * abs(energy_mj)
        net_gain += limits.gain * abs(over_idle)
        offset += limits.offset_mw * seconds
        bound_s = window.bound_ns / 1e9
        edges += edge_limit_mj(trace, window.start_ns, window.end_ns, source.sensor.averaging_s, bound_s)
        step2 = quantisation(limits.lsb_mw) ** 2
        lsb2 += step2 * same_code_s2(whole.mw, whole.weight, limits.lsb_mw)
        for rest in rests:
            idle_lsb2 += step2 * same_code_s2(rest.mw, rest.weight, limits.lsb_mw) * (seconds / len(rests)) ** 2
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


@dataclass(frozen=True)
class _Weighed:
    """The samples of a rail that count in a window, and how much each does."""

    mw: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def total(self) -> float:
        return float(self.weight @ self.mw)

    @classmethod
    def of(cls, trace: Trace, start_ns: int, end_ns: int, unit_s: float = 1.0) -> _Weighed:
        """In units of `unit_s` seconds: 1 for an energy, the window's length for a mean."""
        near = trace.over(start_ns, end_ns)
        return cls(near.mw, weights(near.t_ns, start_ns, end_ns) / unit_s)


def _of_window(source: Source, rail: str, window: Window) -> _Weighed:
    trace = source.rails[rail]
    found = _Weighed.of(trace, window.start_ns, window.end_ns)
    if not np.isfinite(trace.mw).all():
        raise RecordError("some power samples are not numbers")
    if (readings := window.readings(source, rail)) < MIN_READINGS:
        raise RecordError(
            f"{readings:.1f} independent readings in a window of {window.seconds:.2f} s "
            f"({len(window.inside(trace).t_ns)} samples, each averaged over {1e3 * source.sensor.averaging_s:g} ms; "
            f"limit {MIN_READINGS}); measure more requests"
        )
    return found


def _of_idle(source: Source, rail: str, phase: Phase) -> _Weighed:
    """What gives the mean power of an idle phase."""
    inside = source.settled(rail, phase).t_ns
    if len(inside) < 2 or inside[0] == inside[-1]:
        raise RecordError(
            f"fewer than two samples in {phase.name}, of which the first and the last "
            f"{1e3 * source.sensor.averaging_s:g} ms do not count; lengthen it (idle_s)"
        )
    first, last = int(inside[0]), int(inside[-1])
    return _Weighed.of(source.rails[rail], first, last, (last - first) / 1e9)
