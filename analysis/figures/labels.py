"""Labels of points that do not lie on each other, on points, on error bars, or outside the axes.

adjustText 1.4 was tried on the trade-off in its place. Not told of the error bars it put numbers on their caps; told of
them it put one number on a bar and led another away from its point. Its forces also stop by time unless told otherwise,
so the same data may give another figure. Candidate places, tried nearest first, give the same figure every time.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from analysis.figures.look import pt, small

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_GROUP = "point label"
_DISTANCES_PT = (6, 11, 18, 26, 36, 48)
_ANGLES = tuple(math.radians(angle) for angle in (20, 160, -20, 200, 50, 130, -50, 230, 90, 270))
_POINT_RADIUS_PT = 3.6
_APART_PT = 2.9  # two numbers side by side would read as one


def add(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Label a point; `settle` finds the place once everything is drawn."""
    line = {"arrowstyle": "-", "color": colour, "linewidth": pt(0.4), "alpha": 0.7, "shrinkA": 0, "shrinkB": pt(3)}
    axes.annotate(
        text,
        (x, y),
        xytext=(pt(6), 0),
        textcoords="offset points",
        fontsize=small(),
        color=colour,
        arrowprops=line,
        gid=_GROUP,
    ).set_in_layout(False)


def settle(figure: Figure) -> None:
    """Move every label to the candidate place that collides least; nearer places first."""
    for axes in figure.axes:
        found = _notes(axes)
        taken = [_around(axes, note) for note in found] + _bars(axes)
        for note in found:
            taken.append(_place(figure, axes, note, taken))


def notes(axes: Axes) -> list[tuple[str, tuple[float, float]]]:
    """The labels of points, each with the point that it belongs to."""
    return [(note.get_text(), note.xy) for note in _notes(axes)]


def _notes(axes: Axes) -> list[Annotation]:
    from matplotlib.text import Annotation

    return [text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == _GROUP]


def _place(figure: Figure, axes: Axes, note: Annotation, taken: list[Bbox]) -> Bbox:
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    size = _text_box(note, renderer)
    x, y = axes.transData.transform(note.xy)
    best: tuple[float, tuple[float, float, str], Bbox] | None = None
    for distance, angle in product(_DISTANCES_PT, _ANGLES):
        dx, dy = pt(distance) * math.cos(angle), pt(distance) * math.sin(angle)
        side = "center" if abs(dx) < 1e-6 else "left" if dx > 0 else "right"
        box = _at(x + dx * figure.dpi / 72, y + dy * figure.dpi / 72, side, size, _pixels(note, _APART_PT))
        outside = box.width * box.height - _overlap(box, frame)
        cost = 4 * outside + sum(_overlap(box, other) for other in taken) + distance / 10
        if best is None or cost < best[0]:
            best = cost, (dx, dy, side), box
    if best is None:
        raise AssertionError("there are always candidate places")
    dx, dy, side = best[1]
    note.set_position((dx, dy))
    note.set(ha=cast(Any, side), va="center")
    return best[2]


def _at(x: float, y: float, side: str, size: Bbox, air: float) -> Bbox:
    """The box of a text, with the air around it, whose left or right end, or middle, stands at a place."""
    from matplotlib.transforms import Bbox

    left = x - {"left": air, "center": size.width / 2, "right": size.width - air}[side]
    return Bbox.from_bounds(left, y - size.height / 2, size.width, size.height)


def _text_box(note: Annotation, renderer: Any) -> Bbox:
    """The box of the text alone, with some air: an annotation's own extent includes its line."""
    from matplotlib.text import Text

    return Text.get_window_extent(note, renderer).padded(_pixels(note, _APART_PT))


def _pixels(note: Annotation, points: float) -> float:
    """So many points of print in pixels of the figure that bears a label."""
    figure = note.get_figure()
    if figure is None:
        raise AssertionError("a label stands on a figure")
    return pt(points) * figure.dpi / 72


def _around(axes: Axes, note: Annotation) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform(note.xy)
    r = _pixels(note, _POINT_RADIUS_PT)
    return Bbox.from_extents(x - r, y - r, x + r, y + r)


def _bars(axes: Axes) -> list[Bbox]:
    """The error bars, which are line collections, and lines along an axis, as thin boxes."""
    from matplotlib.collections import LineCollection
    from matplotlib.transforms import Bbox

    bars = [bar for bar in axes.collections if isinstance(bar, LineCollection)]
    ends = [axes.transData.transform(segment) for bar in bars for segment in bar.get_segments()]
    lines = [line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float)) for line in axes.lines]
    ends += [end for end in lines if len(end) == 2 and (np.ptp(end, axis=0) < 1).any()]
    return [Bbox([end.min(axis=0) - 2, end.max(axis=0) + 2]) for end in ends]


def _overlap(one: Bbox, other: Bbox) -> float:
    width: float = min(one.x1, other.x1) - max(one.x0, other.x0)
    height: float = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)
