"""Labels of points that do not lie on each other, on points, on lines and error bars, or outside the axes.

adjustText 1.4 was tried on the trade-off in its place. Not told of the error bars it put numbers on their caps; told of
them it put one number on a bar and led another away from its point. Its forces also stop by time unless told otherwise,
so the same data may give another figure. Candidate places, tried nearest first, give the same figure every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from analysis.figures.look import pt, small

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Floats: TypeAlias = NDArray[np.float64]

_GROUP = "point label"
_DISTANCES_PT = (6, 11, 18, 26, 36, 48)
_ANGLES = tuple(math.radians(angle) for angle in (20, 160, -20, 200, 50, 130, -50, 230, 90, 270))
_POINT_RADIUS_PT = 3.6
_APART_PT = 2.9  # two numbers side by side would read as one
_LINE_PX = 4.0  # so wide is a line, with its air
_CROSSING = 40.0  # square pixels that a leader may rather hide than cross another one
_DIGITS = 6  # so that of two places as good as each other the first is taken on every machine
_SWEEPS = 3  # the first labels do not know yet where the last ones go


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
        points = {note: _around(axes, note) for note in found}
        boxes, segments = [*points.values(), *_markers(axes)], _segments(axes)
        placed: dict[Annotation, tuple[Floats, Floats]] = {}
        for _ in range(_SWEEPS):
            for note in found:
                others = [where for other, where in placed.items() if other is not note]
                labels = [box for box, _ in others]
                visible = labels + [point for other, point in points.items() if other is not note]
                leaders = _rows(leader for _, leader in others)
                near = Obstacles(_rows(boxes + labels), segments, leaders, _rows(visible))
                placed[note] = _place(figure, axes, note, near)


def notes(axes: Axes) -> list[tuple[str, tuple[float, float]]]:
    """The labels of points, each with the point that it belongs to."""
    return [(note.get_text(), note.xy) for note in _notes(axes)]


def _notes(axes: Axes) -> list[Annotation]:
    from matplotlib.text import Annotation

    return [text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == _GROUP]


class Obstacles(NamedTuple):
    """What a label keeps clear of, in pixels: boxes, lines and the others' leaders; and what its own leader avoids.

    A box is x0, y0, x1, y1; a line or a leader is x, y at one end and at the other.
    """

    boxes: Floats
    segments: Floats
    leaders: Floats
    kept_visible: Floats

    def costs(self, boxes: Floats, leaders: Floats) -> Floats:
        """For each candidate [K, 4] the square pixels that lie on each other, a leader across another as a few."""
        on_boxes = _overlap(boxes, self.boxes).sum(axis=1)
        on_lines = _through(boxes, self.segments).sum(axis=1) + _through(boxes, self.leaders).sum(axis=1)
        hidden = _through(self.kept_visible, leaders).sum(axis=0)
        # A leader along an error bar reads as a part of it.
        along = _through(_middle(leaders), self.segments).sum(axis=1)
        costs: Floats = on_boxes + _LINE_PX * (on_lines + hidden + along) + _CROSSING * _crossed(leaders, self.leaders)
        return costs


_DISTANCE_PT, _ANGLE = np.array(list(product(_DISTANCES_PT, _ANGLES))).T
"""Of the candidate places, nearest first."""


def _place(figure: Figure, axes: Axes, note: Annotation, near: Obstacles) -> tuple[Floats, Floats]:
    """Set a label's place; returns its box, and its leader as x, y at its point and at the label."""
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    frame = _rows([axes.get_window_extent(renderer).extents])
    size = _text_box(note, renderer)
    x, y = axes.transData.transform(note.xy)
    dx, dy = pt(1) * _DISTANCE_PT * np.cos(_ANGLE), pt(1) * _DISTANCE_PT * np.sin(_ANGLE)
    sides = np.select([np.abs(dx) < 1e-6, dx > 0], ["center", "left"], "right")
    end_x, end_y = x + dx * figure.dpi / 72, y + dy * figure.dpi / 72
    air = _pixels(note, _APART_PT)
    # The box of the text, with the air around it, whose left or right end, or middle, stands at the place.
    left = end_x - np.select([sides == "left", sides == "center"], [air, size.width / 2], size.width - air)
    low = end_y - size.height / 2
    boxes = np.stack([left, low, left + size.width, low + size.height], axis=1)
    leaders = np.stack([np.full_like(end_x, x), np.full_like(end_y, y), end_x, end_y], axis=1)
    outside = size.width * size.height - _overlap(boxes, frame)[:, 0]
    costs = 4 * outside + near.costs(boxes, leaders) + _DISTANCE_PT / 10
    best = int(np.argmin(costs.round(_DIGITS)))
    note.set_position((float(dx[best]), float(dy[best])))
    note.set(ha=cast(Any, str(sides[best])), va="center")
    return boxes[best], leaders[best]


def _rows(each: Iterable[Any]) -> Floats:
    """Boxes or lines one under the other [N, 4]."""
    return np.array(list(each), dtype=float).reshape(-1, 4)


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


def _around(axes: Axes, note: Annotation) -> Floats:
    """The box of a label's point."""
    return _square(axes.transData.transform(note.xy), _pixels(note, _POINT_RADIUS_PT))


def _markers(axes: Axes) -> list[Floats]:
    """Boxes of the points that lines are drawn through or stand for."""
    marked = [line for line in axes.lines if line.get_marker() not in ("None", "none", "", " ", None)]
    places = [line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float)) for line in marked]
    r = pt(_POINT_RADIUS_PT) * axes.figure.dpi / 72
    return [_square(place, r) for place in np.concatenate([*places, np.empty((0, 2))])]


def _square(middle: Any, r: float) -> Floats:
    """A box around a place."""
    x, y = middle
    return np.array([x - r, y - r, x + r, y + r])


def _segments(axes: Axes) -> Floats:
    """The lines of the axes and the error bars, which are line collections: x, y at one end and at the other."""
    from matplotlib.collections import LineCollection

    bars = [bar for bar in axes.collections if isinstance(bar, LineCollection)]
    paths = [axes.transData.transform(segment) for bar in bars for segment in bar.get_segments()]
    lines = [line for line in axes.lines if line.get_linestyle() not in ("None", "none", "", " ")]
    paths += [line.get_transform().transform(np.asarray(line.get_path().vertices, dtype=float)) for line in lines]
    ends = np.concatenate([*(np.hstack([path[:-1], path[1:]]) for path in paths if len(path) > 1), np.empty((0, 4))])
    known: Floats = ends[np.isfinite(ends).all(axis=1)]
    return known


def _middle(leaders: Floats) -> Floats:
    """A box as wide as a line around the middle of each leader."""
    middle = (leaders[:, :2] + leaders[:, 2:]) / 2
    return np.hstack([middle - _LINE_PX / 2, middle + _LINE_PX / 2])


def _through(boxes: Floats, segments: Floats) -> Floats:
    """The length of each segment that lies in each box (Liang and Barsky 1984) [boxes, segments]."""
    start, step = segments[:, :2], segments[:, 2:] - segments[:, :2]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low - start) / step, (high - start) / step
    along = step != 0
    inside = (start >= low) & (start <= high)
    enter = np.where(along, np.minimum(one, other), np.where(inside, -np.inf, np.inf)).max(axis=2, initial=0)
    leave = np.where(along, np.maximum(one, other), np.where(inside, np.inf, -np.inf)).min(axis=2, initial=1)
    length: Floats = np.clip(leave - enter, 0, None) * np.hypot(step[:, 0], step[:, 1])
    return length


def _crossed(leaders: Floats, others: Floats) -> Floats:
    """How many others each leader crosses: each has its ends on two sides of the other."""

    def sides(ends: Floats, of: Floats) -> Floats:
        """On which side of each line the two ends of each other one lie, multiplied [lines, others]."""
        x, y, to_x, to_y = (ends[:, None, at] for at in range(4))

        def side(px: Floats, py: Floats) -> Floats:
            return (to_x - x) * (py - y) - (to_y - y) * (px - x)

        return side(of[:, 0], of[:, 1]) * side(of[:, 2], of[:, 3])

    crossed: Floats = ((sides(leaders, others) < 0) & (sides(others, leaders).T < 0)).sum(axis=1).astype(float)
    return crossed


def _overlap(boxes: Floats, others: Floats) -> Floats:
    """The area that each box has in common with each other one [boxes, others]."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    area: Floats = np.clip(high - low, 0, None).prod(axis=2)
    return area
