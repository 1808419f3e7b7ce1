"""Stages: where the mean latency of each cell goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures.style import BLUE, GREEN, ORANGE, SKY, blank, mark_emulated, with_unit
from analysis.metrics.measured import Measured
from analysis.metrics.stages import METRIC, STAGES
from analysis.texts import significant
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOUR = dict(zip(STAGES, (BLUE, SKY, ORANGE, GREEN, "#C8C8C8"), strict=True))

Bars = list[tuple[Measured, dict[str, float]]]


def stages(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has a latency.
    """
    every: Bars = [(one, found) for one in shown if (found := one.get(METRIC))]
    groups = [(emulated, [bar for bar in every if bar[0].emulated == emulated]) for emulated in (False, True)]
    groups = [(emulated, bars) for emulated, bars in groups if bars]
    if not groups:
        raise RecordError("no cell has a latency")
    sizes = [len(bars) + 0.6 for _, bars in groups]
    height = 0.27 * sum(sizes) + 0.55 * len(groups) + 0.45
    figure, grid = blank(len(groups), 1, height, wide=True, height_ratios=sizes)
    for (emulated, bars), (axes,) in zip(groups, grid, strict=True):
        _draw_group(axes, bars)
        axes.set_xlabel(with_unit("Mean latency", "ms", emulated))
        if emulated:
            mark_emulated(axes)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(STAGES), handlelength=1, columnspacing=1.4)
    caption = "Mean latency per request by stage, with its total. Network is round trips less cloud time."
    if any(value < -1e-6 for _, found in every for value in found.values()):
        caption += " Where stages overlap in time, the bar is longer than the total."
    return figure, caption


def _draw_group(axes: Axes, bars: Bars) -> None:
    places = np.arange(len(bars))[::-1]
    left = np.zeros(len(bars))
    for stage in STAGES:
        values = np.clip([found[stage] for _, found in bars], 0, None)
        name = stage.replace("_", " ")
        axes.barh(places, values, 0.68, left=left, color=_COLOUR[stage], label=name, linewidth=0)
        left += values
    for place, end, (_, found) in zip(places, left, bars, strict=True):
        axes.annotate(
            significant(sum(found.values())),
            (end, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_yticks(places, [one.label for one, _ in bars])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08, y=0.02)
    axes.grid(True, axis="x")
