"""The values that a figure shows and where they lie on it, for a page that tells them under the pointer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from analysis.figures.labels import notes
from analysis.texts import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

_RADIUS_PT = 5.0
_NEAR = 1e-3  # of a category's place
_UNIT = re.compile(r"(.*?)(?: ?\[([^\]]*)\] ?(.*))?")
_MOST_ON_A_LINE = 60  # a line of more is a trace in time: its shape tells, and a mark for each would swell the page

Names: TypeAlias = "dict[tuple[float, float], str]"


@dataclass(frozen=True)
class Mark:
    """A value, and its box in points from the figure's upper left."""

    x: float
    y: float
    width: float
    height: float
    text: str


def marks(figure: Figure) -> list[Mark]:
    """The points and bars of a figure that is laid out, in the order in which they were drawn."""
    return [mark for axes in figure.axes if axes.get_visible() for mark in _of(figure, axes)]


def _of(figure: Figure, axes: Axes) -> Iterator[Mark]:
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer, ErrorbarContainer

    names = _names(figure, axes)
    called = {id(found[0]): _label(found) for found in axes.containers if isinstance(found, ErrorbarContainer)}
    for line in axes.lines:
        if line.get_visible() and line.get_transform() == axes.transData:
            yield from _on_line(figure, axes, line, called.get(id(line)) or _label(line), names)
    for points in axes.collections:
        if isinstance(points, PathCollection):
            places = np.ma.getdata(points.get_offsets())
            for x, y in places.tolist():
                yield from _point(figure, axes, x, y, names.get((x, y)) or _label(points))
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            across = bars.orientation == "horizontal"
            for bar in bars.patches:
                yield from _bar(figure, axes, bar, _label(bars), across)


def _on_line(figure: Figure, axes: Axes, line: Line2D, name: str, names: Names) -> Iterator[Mark]:
    xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
    marked = line.get_marker() not in (None, "", " ", "None", "none")
    # Caps of error bars are markers too, in the shape of a line.
    if len(xs) > _MOST_ON_A_LINE or line.get_marker() in ("|", "_") or (not marked and len(xs) < 3):
        return
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        yield from _point(figure, axes, x, y, names.get((x, y)) or name)


def _point(figure: Figure, axes: Axes, x: float, y: float, name: str) -> Iterator[Mark]:
    if not (np.isfinite(x) and np.isfinite(y)):
        return
    at_x, at_y = _points(figure, axes.transData.transform((x, y)))
    if axes.get_window_extent().padded(figure.dpi * _RADIUS_PT / 72).contains(*axes.transData.transform((x, y))):
        size = 2 * _RADIUS_PT
        yield Mark(at_x - _RADIUS_PT, at_y - _RADIUS_PT, size, size, _said(axes, name, x, y))


def _bar(figure: Figure, axes: Axes, bar: Rectangle, name: str, across: bool) -> Iterator[Mark]:
    length, other = (bar.get_width(), bar.get_height()) if across else (bar.get_height(), bar.get_width())
    if not (np.isfinite(length) and length):
        return
    begin = axes.transData.transform((bar.get_x(), bar.get_y()))
    end = axes.transData.transform((bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height()))
    (left, low), (right, high) = _points(figure, begin), _points(figure, end)
    middle = (bar.get_y() if across else bar.get_x()) + other / 2
    category, axis = (axes.yaxis, axes.xaxis) if across else (axes.xaxis, axes.yaxis)
    at = _tick(category, middle)
    text = ": ".join(filter(None, (", ".join(filter(None, (at, name))), _quantity(axis.get_label_text(), length))))
    yield Mark(min(left, right), min(low, high), abs(right - left), abs(high - low), text)


def _points(figure: Figure, pixels: ArrayLike) -> tuple[float, float]:
    """Pixels from the lower left as points from the upper left."""
    x, y = (72 * float(value) / figure.dpi for value in np.asarray(pixels))
    return x, 72 * float(figure.get_figheight()) - y


def _said(axes: Axes, name: str, x: float, y: float) -> str:
    at = _tick(axes.xaxis, x) or _quantity(axes.get_xlabel() or _shared(axes, "x"), x)
    value = _tick(axes.yaxis, y) or _quantity(axes.get_ylabel() or _shared(axes, "y"), y)
    return ": ".join(filter(None, (name, f"{at}, {value}")))


def _shared(axes: Axes, which: str) -> str:
    """What the axis is called on the axes that share it."""
    group = axes.get_shared_x_axes() if which == "x" else axes.get_shared_y_axes()
    called = (getattr(other, f"get_{which}label")() for other in group.get_siblings(axes))
    return next((text for text in called if text), "")


def _quantity(label: str, value: float) -> str:
    """A value with the name and the unit of its axis, which has the unit in brackets."""
    name, unit, rest = _UNIT.fullmatch(" ".join(label.split())).groups()  # type: ignore[union-attr]
    number = significant(value) + (unit or "" if unit == "%" else f" {unit}" if unit else "")
    return " ".join(filter(None, (name, rest, number)))


def _tick(axis: Any, value: float) -> str:
    """The name of a category; blank where the axis has numbers."""
    from matplotlib.ticker import FixedLocator

    if not isinstance(axis.get_major_locator(), FixedLocator):
        return ""
    named = zip(axis.get_majorticklocs().tolist(), axis.get_majorticklabels(), strict=False)
    return next((" ".join(text.get_text().split()) for place, text in named if abs(place - value) < _NEAR), "")


def _label(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else label


def _names(figure: Figure, axes: Axes) -> Names:
    """The names of points that bear a label; a number is looked up in the figure's key."""
    key = {}
    for legend in figure.legends:
        for text in legend.get_texts():
            number, _, name = text.get_text().partition("  ")
            key[number] = name or number
    return {(float(x), float(y)): key.get(said, said) for said, (x, y) in notes(axes)}
