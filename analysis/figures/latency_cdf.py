"""Latency CDF: the share of answered requests that took no longer than so many milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.figures.look import look, pt
from analysis.figures.style import (
    BLACK,
    DASHES,
    DOMINATED,
    HUES,
    blank,
    key,
    listed,
    mark_emulated,
    plain_log,
    remark,
    with_unit,
)
from analysis.metrics import latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLOURED = 8
MOST_GREY = 60  # each has its requests read
_PERCENTS = np.linspace(0, 100, 401)
_MARKS = ("", "o", "s", "^", "D", "v", "P", "X")


def latency_cdf(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has a latency.
    """
    every = [one for one in shown if one.get(latency.METRIC) is not None and latency.is_a_result(one)]
    groups = [(emulated, [one for one in every if one.emulated == emulated]) for emulated in (False, True)]
    groups = [(emulated, group) for emulated, group in groups if group]
    if not groups:
        raise RecordError("no cell has a latency")
    figure, grid = blank(len(groups), 1, 2.3 * len(groups) + 0.2, wide=True)
    grey: list[str] = []
    coloured_before = 0
    for (emulated, group), (axes,) in zip(groups, grid, strict=True):
        coloured = of_each_kind(group)
        rest = [one for one in group if not any(one is other for other in coloured)]
        grey += [one.label for one in rest]
        _draw(axes, coloured, rest[:MOST_GREY], coloured_before)
        coloured_before += len(coloured)
        axes.set_xlabel(with_unit("Latency", "ms", emulated))
        axes.set_ylabel("Share of requests [%]" if not look().narrow else "Requests [%]")
        if emulated:
            mark_emulated(axes)
    found = [axes.get_legend_handles_labels() for (axes,) in grid]
    key(figure, [handle for handles, _ in found for handle in handles], [name for _, names in found for name in names])
    if grey:
        remark(figure, f"In grey: {listed(grey)}.")
    caption = (
        "Cumulative distribution of the latency of answered requests of all repeats, by the edge's clock; each repeat "
        "counts alike, and in it each sample. Marks are the 50th, 95th and 99th percentile."
    )
    return figure, caption


def distribution(one: Measured) -> NDArray[np.float64]:
    """The latency in ms below which each of the percents 0, 0.25, … 100 of a cell's answered requests lie."""
    return np.array(Alike(one.answered).percentiles(one.answered["latency_ms"].to_numpy(), _PERCENTS.tolist()))


def of_each_kind(group: Sequence[Measured]) -> list[Measured]:
    """All cells where they are few; else the first of each kind: by mode, codec and exit."""
    if len(group) <= MOST_COLOURED:
        return list(group)
    first: dict[object, Measured] = {}
    for one in group:
        manifest = one.cell.manifest
        first.setdefault((manifest.mode, manifest.codec, manifest.exit is not None), one)
    return list(first.values())[:MOST_COLOURED]


def _draw(axes: Axes, coloured: Sequence[Measured], rest: Sequence[Measured], number: int) -> None:
    for one in rest:
        axes.plot(distribution(one), _PERCENTS, color=DOMINATED, linewidth=pt(0.6), zorder=1)
    marked = [int(np.searchsorted(_PERCENTS, percent)) for percent in (50, 95, 99)]
    baselines = 0
    for one in coloured:
        if one.baseline is not None and one.baseline.cell is one.cell:
            style: Any = {"color": BLACK, "linestyle": DASHES[baselines % len(DASHES)], "marker": _MARKS[1]}
            baselines += 1
        else:
            hue, dash = HUES[number % len(HUES)], DASHES[(number + 1) % len(DASHES)]
            style = {"color": hue, "linestyle": dash, "marker": _MARKS[2 + number % 6]}
            number += 1
        size: Any = {"markersize": pt(3.5), "markevery": marked, "linewidth": pt(1.1)}
        axes.plot(distribution(one), _PERCENTS, label=one.label, **style, **size)
    low, high = (float(edge) for edge in axes.get_xlim())
    values = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    if values.min() > 0 and values.max() > 8 * values.min():
        axes.set_xscale("log")
        axes.set_xlim(0.9 * values.min(), 1.1 * values.max())
        plain_log(axes.xaxis)
    else:
        axes.set_xlim(max(0.0, low), high)
    axes.set_ylim(0, 101)
    axes.grid(True)
