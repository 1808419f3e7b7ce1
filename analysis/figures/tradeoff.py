"""Trade-off: accuracy, energy and latency against each other; cells that no other beats, and the rest in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.energy import KINDS
from analysis.figures import labels
from analysis.figures.idle import idle_note
from analysis.figures.look import look, pt, small
from analysis.figures.points import HOW_MARKED, MOST_NUMBERED, mark, name_points, numbered
from analysis.figures.style import BLACK, DOMINATED, mark_emulated, mark_invalid, panels, with_unit, wrapped
from analysis.metrics import accuracy, energy, latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_LEAST_HEIGHT_IN = 1.4  # of a panel, inches of print


@dataclass(frozen=True)
class Point:
    """A cell at two quantities, each with the ends of its 95% interval."""

    one: Measured
    x: float
    y: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]


@dataclass(frozen=True)
class _Panel:
    """Two quantities of measured or of emulated cells; less of x is better, and `up` says whether more of y is."""

    x_label: str
    y_label: str
    emulated: bool
    up: bool
    title: str
    points: list[Point] = field(default_factory=list)


def tradeoff(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has two of accuracy, energy and latency.
    """
    shown = [one for one in shown if latency.is_a_result(one)]
    every = [
        panel
        for title, cells in by_task(shown)
        for kind in KINDS
        for panel in _panels(cells, kind == "emulated", title)
        if panel.points
    ]
    if not every:
        raise RecordError("no cell has two of accuracy, energy and latency")
    height = 2.0 if look().narrow else 2.35
    if len(every) / look().across * _LEAST_HEIGHT_IN > look().most_high_in:
        raise RecordError(f"{len(every)} panels have no room on a page; choose cells of one data set with --cells")
    drawn = [one for one in shown if any(one is point.one for panel in every for point in panel.points)]
    fronts = [front(panel.points, panel.up) for panel in every]
    unbeaten = {id(point.one) for found in fronts for point in found}
    edge_only = {id(one) for one in drawn if one.baseline is not None and one.baseline.cell is one.cell}
    numbers = numbered(drawn, unbeaten | edge_only)
    figure, grid = panels(len(every), height)
    for axes, panel, found in zip(grid, every, fronts, strict=True):
        _draw_panel(axes, panel, found, numbers)
    name_points(figure, drawn, numbers, "On no front, in grey")
    caption = (
        "Accuracy, edge energy per request and median latency against each other. The line joins the cells that no "
        "other cell of the same data set and backbone beats in both; those that one beats are grey. The rim marks the "
        "edge by itself. "
        f"{HOW_MARKED}. Bars: 95% intervals of energy and latency over {_repeats(shown)}, and of the accuracy "
        "for drawing other samples of the data set (cells share their samples, so differences between them are surer "
        "than the bars suggest). The fronts are those of the means."
    )
    if len(drawn) > MOST_NUMBERED:
        caption += " Cells on a front and the edge by itself are numbered, the others are listed."
    return figure, caption + idle_note(drawn)


def front(points: Sequence[Point], up: bool) -> list[Point]:
    """The points that no other beats, by x: none has as little of x and as much of y (as little, unless `up`)."""
    sign = -1 if up else 1

    def beaten(point: Point) -> bool:
        own = (point.x, sign * point.y)
        return any(
            other.x <= own[0] and sign * other.y <= own[1] and (other.x, sign * other.y) != own for other in points
        )

    return sorted((point for point in points if not beaten(point)), key=lambda point: point.x)


def by_task(shown: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """The cells by data set and backbone: nothing is gained by beating another task. Unnamed where there is one."""
    found: dict[tuple[str, str, str], list[Measured]] = {}
    for one in shown:
        data, model = one.cell.manifest.dataset, one.cell.manifest.model
        found.setdefault((data.name, data.variant, model.backbone), []).append(one)
    # A variant may be said in many words.
    return [(f"{name}, {backbone}" if len(found) > 1 else "", cells) for (name, _, backbone), cells in found.items()]


def _panels(shown: Sequence[Measured], emulated: bool, title: str) -> list[_Panel]:
    energy_name = with_unit("Edge energy per request", "mJ", emulated, lines=2)
    latency_name = with_unit("Latency, median", "ms", emulated)
    by_energy = _Panel(energy_name, "Accuracy [%]", emulated, up=True, title=title)
    by_latency = _Panel(latency_name, "Accuracy [%]", emulated, up=True, title=title)
    both = _Panel(latency_name, energy_name, emulated, up=False, title=title)
    for one in shown:
        right, drew, took = one.get(accuracy.METRIC), one.get(energy.METRIC), one.get(latency.METRIC)
        y = None if right is None else (100 * right.fraction, (100 * right.low, 100 * right.high))
        joules = _ends(drew.gross.mean, drew.gross.half) if drew and (drew.source == "emulated") == emulated else None
        ms = _ends(took.p50_ms, took.p50.half) if took and one.emulated == emulated else None
        for panel, across, along in ((by_energy, joules, y), (by_latency, ms, y), (both, ms, joules)):
            if across is not None and along is not None:
                panel.points.append(Point(one, across[0], along[0], across[1], along[1]))
    return [by_energy, by_latency, both]


def _ends(mean: float, half: float | None) -> tuple[float, tuple[float, float]]:
    return mean, (mean - (half or 0.0), mean + (half or 0.0))


def _repeats(measured: Sequence[Measured]) -> str:
    counts = sorted({one.cell.manifest.repeats for one in measured})
    return f"{counts[0]} repeats" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} repeats"


def _draw_panel(axes: Axes, panel: _Panel, unbeaten: Sequence[Point], numbers: Mapping[int, str]) -> None:
    on_front = {id(point) for point in unbeaten}
    few = len(panel.points) <= MOST_NUMBERED
    for point in panel.points:
        best = id(point) in on_front
        marker = mark(point.one, None if best else DOMINATED)
        # Where cells are many, the bars of those that are beaten would hide the others.
        if best or few:
            axes.errorbar(
                point.x,
                point.y,
                xerr=[[point.x - point.x_ends[0]], [point.x_ends[1] - point.x]],
                yerr=[[point.y - point.y_ends[0]], [point.y_ends[1] - point.y]],
                linestyle="none",
                elinewidth=pt(0.7),
                ecolor=(marker["color"], 0.55),
                capsize=pt(1.5),
                capthick=pt(0.7),
                zorder=3 if best else 2,
                **marker,
            )
        else:
            axes.plot(point.x, point.y, linestyle="none", zorder=2, **marker)
        if number := numbers.get(id(point.one)):
            labels.add(axes, point.x, point.y, number, marker["color"] if best else "#777777")
    xs, ys = [point.x for point in unbeaten], [point.y for point in unbeaten]
    axes.plot(xs, ys, drawstyle="steps-post", color=BLACK, linewidth=pt(0.8), linestyle=(0, (4, 1.5)), zorder=1)
    has_invalid = any(point.one.valid is False for point in panel.points)
    if panel.title:
        # The marks of what is emulated and of what is invalid stand beside it.
        marked = 0.8 * panel.emulated + 0.9 * has_invalid
        room = look().room_in / look().across - 0.5 - marked
        axes.set_title(wrapped(panel.title, room), loc="left", fontsize=small())
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(True)
    axes.margins(0.08, 0.08)
    if min(point.x for point in panel.points) > 0:
        axes.set_xlim(left=0)
    if not panel.up and min(point.y for point in panel.points) > 0:
        axes.set_ylim(bottom=0)
    if panel.emulated:
        mark_emulated(axes)
    mark_invalid(axes, [point.one for point in panel.points])
