"""Latency and energy over the link's rate and round trip, and where a cell crosses the edge by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from analysis.figures import labels
from analysis.figures.look import pt
from analysis.figures.style import (
    DASHES,
    MARKERS,
    VERMILION,
    colour_of,
    key,
    mark_emulated,
    mark_invalid,
    panels,
    plain_log,
    with_unit,
)
from analysis.metrics import energy, latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Place(NamedTuple):
    """Where on the link's scales a cell was measured: Mbit/s up, mean over its trace; and ms there and back."""

    mbit_s: float
    rtt_ms: float


class Point(NamedTuple):
    """A quantity of a cell with the half-width of its 95% interval."""

    x: float
    y: float
    half: float


class Crossing(NamedTuple):
    """Where a line crosses its baseline."""

    x: float
    y: float


Quantity = Callable[[Measured], tuple[float, float] | None]


def links(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no two cells differ by their link alone.
    """
    swept = _series(shown)
    columns = [axis for axis in (0, 1) if any(_slice(places, axis) for places in swept.values())]
    if not columns:
        raise RecordError("no two cells differ in the rate or the round trip of their link alone")
    rows = [row for row in _rows(shown) if any(row[1](one) for places in swept.values() for one in places.values())]
    figure, every = panels(len(rows) * len(columns), 2.0)
    fixed: list[str] = []
    places = [(axis, row) for axis in columns for row in rows]
    for axes, (axis, (name, quantity)) in zip(every, places, strict=True):
        other = _most_common(swept, axis)
        fixed.append(f"{('rate', 'round trip')[axis]} at {_said(other, 1 - axis)}")
        _draw(axes, swept, axis, other, quantity)
        axes.set_ylabel(name)
        if any(one.emulated for one in shown):
            mark_emulated(axes)
        mark_invalid(axes, [one for places in swept.values() for one in places.values()])
    fixed = list(dict.fromkeys(fixed))
    key(figure, *every[0].get_legend_handles_labels())
    caption = (
        f"Median latency and edge energy per request over the link's {' and its '.join(fixed)}, with 95% intervals "
        "over repeats. The horizontal lines are the edge by itself. A ring is where a line crosses that, between the "
        "links that were measured."
    )
    if any(quantity is _net_energy for _, quantity in rows):
        caption += " Net energy is beside gross, since most of that is what the idle board draws in that time."
    return figure, caption


def place_of(one: Measured) -> Place | None:
    """Where a cell's link lies; None where it has none, or one as fast as the path beneath."""
    asked = one.cell.manifest.link.requested
    if asked is None or asked["up"]["mbit_s"] is None:
        return None
    return Place(asked["up"]["mbit_s"]["mean"], asked["up"]["delay_ms"] + asked["down"]["delay_ms"])


def crossings(points: Sequence[Point], level: float) -> list[Crossing]:
    """Where a line through points, in the order of their x, crosses a level.

    It is straight between them as it is drawn, over log x and log y.
    """
    found = []
    for left, right in pairwise(points):
        if (left.y - level) * (right.y - level) < 0 and min(left.x, left.y, right.y, level) > 0:
            share = math.log(level / left.y) / math.log(right.y / left.y)
            found.append(Crossing(math.exp((1 - share) * math.log(left.x) + share * math.log(right.x)), level))
    return found


def _series(shown: Sequence[Measured]) -> dict[str, dict[Place, Measured]]:
    """Cells that differ in their link alone, by what they have in common."""
    found: dict[str, dict[Place, Measured]] = {}
    for one in shown:
        place, asked = place_of(one), one.cell.manifest.link.requested
        if place is not None and asked is not None:
            name = _without_link(one, asked["name"])
            found.setdefault(name, {}).setdefault(place, one)
    return {name: places for name, places in found.items() if len(places) > 1}


def _without_link(one: Measured, link: str) -> str:
    """What a cell is called but for its link: the same for all cells that differ in that alone."""
    return one.label.replace(f", {link}", "", 1)


def _rows(shown: Sequence[Measured]) -> list[tuple[str, Quantity]]:
    emulated = any(one.emulated for one in shown)
    rows: list[tuple[str, Quantity]] = [
        (with_unit("Latency, median", "ms", emulated, lines=2), _latency),
        (with_unit("Edge energy per request", "mJ", emulated, lines=2), _energy),
    ]
    if any((found := one.get(energy.METRIC)) is not None and found.mostly_idle for one in shown):
        rows.append((with_unit("Net edge energy per request", "mJ", emulated, lines=2), _net_energy))
    return rows


def _latency(one: Measured) -> tuple[float, float] | None:
    found = one.get(latency.METRIC)
    return None if found is None else (found.p50_ms, found.p50.half or 0.0)


def _energy(one: Measured) -> tuple[float, float] | None:
    found = one.get(energy.METRIC)
    return None if found is None else (found.gross.mean, found.gross.half or 0.0)


def _net_energy(one: Measured) -> tuple[float, float] | None:
    found = one.get(energy.METRIC)
    # What is not above 0 has no place on a logarithmic axis.
    if found is None or found.net is None or found.net.mean <= 0:
        return None
    return found.net.mean, found.net.half or 0.0


def _most_common(swept: dict[str, dict[Place, Measured]], axis: int) -> float:
    """The value of the other scale at which most cells lie that differ along this one."""
    counts: dict[float, int] = {}
    for places in swept.values():
        for place in places:
            counts[place[1 - axis]] = counts.get(place[1 - axis], 0) + 1
    return max(counts, key=lambda value: (counts[value], -value))


def _slice(places: dict[Place, Measured], axis: int, other: float | None = None) -> list[tuple[float, Measured]]:
    """The cells along one scale, at one value of the other: by default that which most of them share."""
    if other is None:
        other = _most_common({"": places}, axis)
    found = sorted(
        ((place[axis], one) for place, one in places.items() if place[1 - axis] == other), key=lambda item: item[0]
    )
    return found if len(found) > 1 else []


def _draw(axes: Axes, swept: dict[str, dict[Place, Measured]], axis: int, other: float, quantity: Quantity) -> None:
    seen: list[float] = []
    for number, (name, places) in enumerate(swept.items()):
        points = [Point(x, *found) for x, one in _slice(places, axis, other) if (found := quantity(one)) is not None]
        seen += [point.y for point in points]
        some = next(iter(places.values()))
        colour = colour_of(some)
        axes.errorbar(
            [point.x for point in points],
            [point.y for point in points],
            yerr=[point.half for point in points],
            label=name,
            color=colour,
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=pt(3.5),
            linewidth=pt(1.0),
            capsize=pt(1.5),
            elinewidth=pt(0.7),
        )
        level = None if some.baseline is None else quantity(some.baseline)
        for crossing in crossings(points, level[0]) if level is not None else []:
            axes.plot([crossing.x], [crossing.y], marker="o", markersize=pt(7), color=colour, fillstyle="none")
            labels.add(axes, crossing.x, crossing.y, f"{crossing.x:.2g}", colour)
    baselines = {
        id(one.baseline.cell): one.baseline for places in swept.values() for one in places.values() if one.baseline
    }
    for baseline in baselines.values():
        found = quantity(baseline)
        if found is not None:
            seen.append(found[0])
            axes.axhline(found[0], color=VERMILION, linewidth=pt(1.0), label=baseline.label)
            axes.axhspan(found[0] - found[1], found[0] + found[1], color=VERMILION, alpha=0.15, linewidth=0)
    axes.set_xlabel(("Rate of the link, up [Mbit/s]", "Round trip of the link [ms]")[axis])
    axes.set_yscale("log")
    if seen:  # an interval of two repeats may reach to the end of the world
        axes.set_ylim(min(seen) / 2, 2 * max(seen))
    plain_log(axes.yaxis)
    if axis == 0 or all(place[axis] > 0 for places in swept.values() for place in places):
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    axes.grid(True)


def _said(value: float, axis: int) -> str:
    return f"{value:.4g} {('Mbit/s', 'ms')[axis]}"
