"""Power of the edge over one repeat, its phases shaded: a cell of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.energy import meter
from analysis.figures.style import GREEN, GREY, ORANGE, SKY, blank, colour_of, mark_emulated
from analysis.metrics import energy
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.power import Phase, Source, phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PHASE_COLOUR = {"idle_before": SKY, "warmup": ORANGE, "measure": GREEN, "idle_after": SKY}
_SHADES = {"idle baseline": "idle_before", "warm-up": "warmup", "measurement": "measure"}
_SHADE = 0.15

Trace = tuple[Measured, Source, list[Phase]]


def power(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has power samples and phases of its edge.
    """
    from matplotlib.patches import Patch

    traces = _one_of_each_kind(shown)
    if not traces:
        raise RecordError("no cell has power samples and phases of its edge")
    figure, grid = blank(len(traces), 1, 1.15 * len(traces) + 0.7, wide=True, sharey=True)
    for (axes,), (one, source, found) in zip(grid, traces, strict=True):
        _draw_panel(axes, one, source, found)
    patches = [Patch(color=_PHASE_COLOUR[name], alpha=2 * _SHADE, linewidth=0) for name in _SHADES.values()]
    figure.legend(patches, list(_SHADES), loc="outside upper left", ncols=len(_SHADES), handlelength=1)
    grid[-1][0].set_xlabel("Time since the measurement began [s]")
    caption = (
        "Power of the edge over the first repeat of a cell of each kind (all rails of its source): samples "
        "(light) and running mean (dark). Energy is the integral over the requests of the measure phase."
    )
    return figure, caption


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
        axes.axvspan(start, end, color=_PHASE_COLOUR.get(phase.name, GREY), alpha=_SHADE, linewidth=0)
    colour = colour_of(one)
    axes.plot(seconds, watts, color=colour, alpha=0.35, linewidth=0.5)
    width = max(1, len(watts) // 100)
    mean = np.convolve(watts, np.ones(width) / width, mode="valid")
    axes.plot(seconds[width // 2 :][: len(mean)], mean, color=colour, linewidth=1.1)
    axes.set_xlim(seconds[0], seconds[-1])
    emulated = source.scope == "emulated"
    axes.set_ylabel("Power [W]\n(emulated)" if emulated else "Power [W]")
    axes.set_title(one.label, loc="left", color=colour, fontsize=7.5)
    if emulated:
        mark_emulated(axes)
