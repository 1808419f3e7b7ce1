"""Energy: what the edge draws per request, net and idle, by rail; and what a whole repeat takes, by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.energy import KINDS, draw, meter
from analysis.figures import bars
from analysis.figures.look import pt
from analysis.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    blank,
    key,
    mark_emulated,
    with_unit,
)
from analysis.metrics import energy as energy_metric
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.power import Source, phases, repeats, window
from testbed.record.trapezoid import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RAIL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
_PHASES = {"idle_before": "idle before", "warmup": "warm-up", "measure": "requests", "idle_after": "idle after"}
_PHASE_LOOK = {
    "idle_before": ("#D0D0D0", ""),
    "warmup": (ORANGE, "////"),
    "measure": (GREEN, ""),
    "idle_after": ("#8C8C8C", ".."),
}


@dataclass(frozen=True)
class Split:
    """A cell's edge energy: of each rail mJ per request, net and idle (None: no idle baseline); of each phase, joules.

    Means over repeats.
    """

    one: Measured
    net_mj: Mapping[str, float | None]
    gross_mj: Mapping[str, float]
    phase_j: Mapping[str, float]


def energy(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell's edge is metered.
    """
    splits = [split for one in bars.few_enough(shown) if (split := split_of(one)) is not None]
    groups = [(kind == "emulated", [split for split in splits if _kind(split) == kind]) for kind in KINDS]
    groups = [(emulated, group) for emulated, group in groups if group]
    if not groups:
        raise RecordError("no cell has an energy of its edge")
    sizes = [len(group) + 0.6 for _, group in groups]
    height = bars.pitch() * sum(sizes) + 0.65 * len(sizes)
    figure, grid = blank(len(sizes), 2, height, wide=True, height_ratios=sizes)
    for (emulated, group), (per_request, per_phase) in zip(groups, grid, strict=True):
        _draw_per_request(per_request, group)
        _draw_per_phase(per_phase, group)
        per_request.set_xlabel(with_unit("Edge energy per request", "mJ", emulated, lines=2))
        per_phase.set_xlabel(with_unit("Edge energy of a repeat", "J", emulated, lines=2))
        bars.name(per_request, [split.one.label for split in group])
        bars.name(per_phase, [split.one.label for split in group], shown=False)
        if emulated:
            mark_emulated(per_request)
            mark_emulated(per_phase)
    found = {
        name: handle
        for row in grid
        for axes in row
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    key(figure, list(found.values()), list(found))
    caption = (
        "Edge energy. By request: what each rail drew over its idle baseline (net), and on top what the idle board "
        "draws in that time; both together are gross. Whiskers are 95% intervals of net and gross. By phase: what a "
        "whole repeat took, mean over repeats. Phases last as long as they must, so only the requests compare."
    )
    if any(value is None for split in splits for value in split.net_mj.values()):
        caption += " Cells without an idle baseline have their gross alone."
    return figure, caption


def split_of(one: Measured) -> Split | None:
    """The parts of a cell's edge energy; None where there is no energy."""
    if one.get(energy_metric.METRIC) is None:
        return None
    edge = one.cell.manifest.role("edge")[0]
    source = meter(one.cell, edge)
    if source is None:
        return None
    every = repeats(one.cell)
    windows = [window(one.cell, edge, repeat) for repeat in every]
    net: dict[str, float | None] = {}
    gross: dict[str, float] = {}
    for rail, trace in source.rails.items():
        alone = replace(source, rails={rail: trace})
        draws = [draw(alone, each).per(each.requests) for each in windows]
        nets = [each.net_mj for each in draws if each.net_mj is not None]
        gross[rail] = float(np.mean([each.gross_mj for each in draws]))
        net[rail] = float(np.mean(nets)) if len(nets) == len(draws) else None
    joules: dict[str, float] = {}
    for repeat in every:
        for phase in phases(one.cell, edge.id, repeat):
            if phase.name in _PHASES:
                drawn_j = _joules(source, phase.start_ns, phase.end_ns)
                joules[phase.name] = joules.get(phase.name, 0.0) + drawn_j / len(every)
    return Split(one, net, gross, joules)


def _joules(source: Source, start_ns: int, end_ns: int) -> float:
    """What all rails drew from one time to another, as far as there are samples."""
    return sum(_of_rail(trace, start_ns, end_ns) for trace in source.rails.values())


def _of_rail(trace: Trace, start_ns: int, end_ns: int) -> float:
    start_ns, end_ns = max(start_ns, int(trace.t_ns[0])), min(end_ns, int(trace.t_ns[-1]))
    return trace.energy_mj(start_ns, end_ns) / 1e3 if end_ns > start_ns else 0.0


def _kind(split: Split) -> str:
    found = split.one.get(energy_metric.METRIC)
    return "" if found is None else found.source


def _draw_per_request(axes: Axes, group: Sequence[Split]) -> None:
    at, left = bars.places(len(group)), np.zeros(len(group))
    rails = list(dict.fromkeys(rail for split in group for rail in split.gross_mj))
    for number, rail in enumerate(rails):
        net = np.array([split.net_mj.get(rail) or 0.0 for split in group])
        colour = _RAIL_COLOURS[number % len(_RAIL_COLOURS)]
        axes.barh(at, net, bars.thickness(), left=left, color=colour, label=f"{rail}, net", linewidth=0)
        left = left + np.clip(net, 0, None)
    for number, rail in enumerate(rails):
        idle = np.array([split.gross_mj.get(rail, 0.0) - (split.net_mj.get(rail) or 0.0) for split in group])
        colour = _RAIL_COLOURS[number % len(_RAIL_COLOURS)]
        hatched: Any = {"facecolor": "white", "edgecolor": colour, "hatch": "////", "linewidth": pt(0.6)}
        axes.barh(at, idle, bars.thickness(), left=left, label=f"{rail}, idle in that time", **hatched)
        left = left + idle
    look_of: Any = {"color": BLACK, "elinewidth": pt(0.8), "capsize": pt(2), "capthick": pt(0.8), "linestyle": "none"}
    for place, split in zip(at, group, strict=True):
        found = split.one.get(energy_metric.METRIC)
        for budget in (found.gross, found.net) if found else ():
            if budget is not None and budget.half is not None:
                axes.errorbar(budget.mean, place, xerr=min(budget.half, abs(budget.mean)), **look_of)
    axes.set_xlim(left=min(0.0, float(axes.get_xlim()[0])) if any(_negative(split) for split in group) else 0.0)


def _negative(split: Split) -> bool:
    return any(value is not None and value < 0 for value in split.net_mj.values())


def _draw_per_phase(axes: Axes, group: Sequence[Split]) -> None:
    at, left = bars.places(len(group)), np.zeros(len(group))
    for phase, title in _PHASES.items():
        joules = np.array([split.phase_j.get(phase, 0.0) for split in group])
        colour, hatch = _PHASE_LOOK[phase]
        hatched: Any = {"color": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0}
        axes.barh(at, joules, bars.thickness(), left=left, label=title, **hatched)
        left = left + joules
