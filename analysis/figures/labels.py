"""Labels of points that do not lie on each other, on points, on error bars, or outside the axes.

adjustText 1.4 was tried on the trade-off in its place. Not told of the error bars it put numbers on their caps; told of
them it put one number on a bar and led another away from its point. Its forces also stop by time unless told otherwise,
so the same data may give another figure. Candidate places, tried nearest first, give the same figure every time.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_GROUP = "point label"
_DISTANCES_PT = (6, 11, 18, 26, 36, 48)
_ANGLES = tuple(math.radians(angle) for angle in (20, 160, -20, 200, 50, 130, -50, 230, 90, 270))
_POINT_RADIUS_PX = 5
_APART_PX = 4  # two numbers side by side would read as one


def add(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Label a point; `settle` finds the place once everything is drawn."""
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.7, "shrinkA": 0, "shrinkB": 3}
    axes.annotate(
        text,
        (x, y),
        xytext=(6, 0),
        textcoords="offset points",
        fontsize=6.5,
        color=colour,
        arrowprops=line,
        gid=_GROUP,
    ).set_in_layout(False)


def settle(figure: Figure) -> None:
    """Move every label to the candidate place that collides least; nearer places first."""
    from matplotlib.text import Annotation

    for axes in figure.axes:
        notes = [text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == _GROUP]
        taken = [_around(axes, note) for note in notes] + _bars(axes)
        for note in notes:
            taken.append(_place(figure, axes, note, taken))


def _place(figure: Figure, axes: Axes, note: Annotation, taken: list[Bbox]) -> Bbox:
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    best: tuple[float, tuple[float, float, str], Bbox] | None = None
    for distance, angle in product(_DISTANCES_PT, _ANGLES):
        dx, dy = distance * math.cos(angle), distance * math.sin(angle)
        side = "center" if abs(dx) < 1e-6 else "left" if dx > 0 else "right"
        note.set_position((dx, dy))
        note.set(ha=side, va="center")
        note.update_positions(renderer)
        box = _text_box(note, renderer)
        outside = box.width * box.height - _overlap(box, frame)
        cost = 4 * outside + sum(_overlap(box, other) for other in taken) + distance / 10
        if best is None or cost < best[0]:
            best = cost, (dx, dy, side), box
    if best is None:
        raise AssertionError("there are always candidate places")
    dx, dy, side = best[1]
    note.set_position((dx, dy))
    note.set_horizontalalignment(cast(Any, side))
    return best[2]


def _text_box(note: Annotation, renderer: Any) -> Bbox:
    """The box of the text alone, with some air: an annotation's own extent includes its line."""
    from matplotlib.text import Text

    return Text.get_window_extent(note, renderer).padded(_APART_PX)


def _around(axes: Axes, note: Annotation) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform(note.xy)
    r = _POINT_RADIUS_PX
    return Bbox.from_extents(x - r, y - r, x + r, y + r)


def _bars(axes: Axes) -> list[Bbox]:
    """The error bars, which are line collections, as thin boxes."""
    from matplotlib.collections import LineCollection
    from matplotlib.transforms import Bbox

    bars = [bar for bar in axes.collections if isinstance(bar, LineCollection)]
    ends = [axes.transData.transform(segment) for bar in bars for segment in bar.get_segments()]
    return [Bbox([end.min(axis=0) - 2, end.max(axis=0) + 2]) for end in ends]


def _overlap(one: Bbox, other: Bbox) -> float:
    width: float = min(one.x1, other.x1) - max(one.x0, other.x0)
    height: float = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)
