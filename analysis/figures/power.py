"""Power of the edge over one repeat, its phases shaded: a cell of each kind, on one scale of time and one of power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.energy import meter
from analysis.figures.look import look, pt, small
from analysis.figures.style import (
    BLACK,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    blank,
    colour_of,
    key,
    mark_emulated,
    mark_invalid,
    wrapped,
)
from analysis.metrics import energy
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.power import Phase, Source, phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PHASE_COLOUR = {"idle_before": SKY, "warmup": ORANGE, "measure": GREEN, "idle_after": SKY}
_PHASE_HATCH = {"idle_before": "..", "warmup": "////", "measure": "", "idle_after": ".."}
_SHADES = {"idle baseline": "idle_before", "warm-up": "warmup", "measurement": "measure"}
_SHADE = 0.15
_LEAST_IN = 0.9  # of a panel, inches of print
_BREAK_FROM = 0.5  # of the most: where all power lies above that, an axis from zero would show a flat line

Trace = tuple[Measured, Source, list[Phase]]


def power(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has power samples and phases of its edge.
    """
    from matplotlib.patches import Patch

    traces = _one_of_each_kind(shown)[: max(1, int(look().most_high_in / _LEAST_IN))]
    if not traces:
        raise RecordError("no cell has power samples and phases of its edge")
    figure, grid = blank(len(traces), 1, 1.1 * len(traces) + 0.4, wide=True, sharex=True)
    for (axes,), (one, source, found) in zip(grid, traces, strict=True):
        _draw_panel(axes, one, source, found)
    every = [axes for (axes,) in grid]
    is_broken = False
    for emulated in (False, True):  # what is emulated has a scale of its own
        of_kind = [axes for axes, trace in zip(every, traces, strict=True) if _is_emulated(trace) == emulated]
        is_broken |= bool(of_kind) and _scale(of_kind)
    look_of: Any = {"alpha": 2 * _SHADE, "linewidth": 0}
    patches = [
        Patch(facecolor=_PHASE_COLOUR[name], edgecolor=BLACK, hatch=_PHASE_HATCH[name], **look_of)
        for name in _SHADES.values()
    ]
    key(figure, patches, list(_SHADES))
    every[-1].set_xlabel("Time since the measurement began [s]")
    caption = (
        "Power of the edge over the first repeat of a cell of each kind (all rails of its source): samples "
        "(light) and running mean (dark). Energy is the integral over the requests of the measure phase."
    )
    if is_broken:
        caption += " The axis of power is broken: it does not begin at zero."
    return figure, caption


def _is_emulated(trace: Trace) -> bool:
    return trace[1].scope == "emulated"


def _scale(every: Sequence[Axes]) -> bool:
    """Give panels one scale of power, from zero or broken where one can see it; returns whether it is broken."""
    from matplotlib.ticker import MaxNLocator

    lines = [np.asarray(line.get_ydata(), dtype=float) for axes in every for line in axes.lines]
    low, high = min(float(line.min()) for line in lines), max(float(line.max()) for line in lines)
    is_broken = low >= _BREAK_FROM * high
    room = max(high - low, 0.02 * high)
    for axes in every:
        axes.set_ylim((low - 0.35 * room, high + 0.12 * room) if is_broken else (0, 1.08 * high))
        axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
    for axes in every if is_broken else ():
        # Two strokes across the foot of the axis, as on a broken scale drawn by hand.
        for height in (0.06, 0.12):
            stroke: Any = {"transform": axes.transAxes, "clip_on": False, "color": BLACK, "linewidth": pt(0.8)}
            axes.plot([-0.008, 0.008], [height - 0.03, height + 0.03], scalex=False, scaley=False, **stroke)
        axes.spines["bottom"].set_linestyle((0, (2, 3)))
    return is_broken


def _one_of_each_kind(shown: Sequence[Measured]) -> list[Trace]:
    """The first cell of each mode, with and without an exit, whose edge is metered."""
    picked: dict[tuple[str, bool], Trace] = {}
    for one in shown:
        manifest = one.cell.manifest
        key = (manifest.mode, manifest.exit is not None)
        if key in picked or not one.get(energy.METRIC):
            continue
        edge = manifest.role("edge")[0]
        source = meter(one.cell, edge)
        found = phases(one.cell, edge.id, int(one.cell.requests["repeat"].min()))
        if source is not None and found:
            picked[key] = (one, source, found)
    return list(picked.values())


def _draw_panel(axes: Axes, one: Measured, source: Source, found: list[Phase]) -> None:
    origin = next((phase.start_ns for phase in found if phase.name == "measure"), found[0].start_ns)
    first = next(iter(source.rails.values()))
    times = first.between(found[0].start_ns, found[-1].end_ns).t_ns
    rails = [np.interp(times - origin, rail.t_ns - origin, rail.mw) for rail in source.rails.values()]
    watts = np.sum(rails, axis=0) / 1e3
    if len(times) < 2:
        raise RecordError(f"{one.label}: no power samples during its first repeat")
    seconds = (times - origin) / 1e9
    for phase in found:
        start, end = ((at - origin) / 1e9 for at in (phase.start_ns, phase.end_ns))
        shade: Any = {"facecolor": _PHASE_COLOUR.get(phase.name, GREY), "hatch": _PHASE_HATCH.get(phase.name)}
        axes.axvspan(start, end, edgecolor=BLACK, alpha=_SHADE, linewidth=0, **shade)
    colour = colour_of(one)
    axes.plot(seconds, watts, color=colour, alpha=0.35, linewidth=pt(0.5))
    width = max(1, len(watts) // 100)
    mean = np.convolve(watts, np.ones(width) / width, mode="valid")
    axes.plot(seconds[width // 2 :][: len(mean)], mean, color=colour, linewidth=pt(1.1))
    axes.margins(x=0)
    emulated = source.scope == "emulated"
    axes.set_ylabel("Power [W]\n(emulated)" if emulated else "Power [W]")
    axes.set_title(wrapped(one.label, look().room_in - 1.4), loc="left", color=colour, fontsize=small())
    if emulated:
        mark_emulated(axes)
    mark_invalid(axes, [one])
