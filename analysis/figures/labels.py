"""Labels of points that do not lie on each other, on points, on lines and error bars, or outside the axes.

adjustText 1.4 was tried on the trade-off in its place. Not told of the error bars it put numbers on their caps; told of
them it put one number on a bar and led another away from its point. Its forces also stop by time unless told otherwise,
so the same data may give another figure. Candidate places, tried nearest first, give the same figure every time.
"""

from __future__ import annotations

import math
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
        placed: dict[Annotation, tuple[Bbox, Floats]] = {}
        for _ in range(_SWEEPS):
            for note in found:
                others = [where for other, where in placed.items() if other is not note]
                labels = [box for box, _ in others]
                leaders = np.array([leader for _, leader in others]).reshape(-1, 4)
                visible = labels + [point for other, point in points.items() if other is not note]
                placed[note] = _place(figure, axes, note, Obstacles(boxes + labels, segments, leaders, visible))


def notes(axes: Axes) -> list[tuple[str, tuple[float, float]]]:
    """The labels of points, each with the point that it belongs to."""
    return [(note.get_text(), note.xy) for note in _notes(axes)]


def _notes(axes: Axes) -> list[Annotation]:
    from matplotlib.text import Annotation

    return [text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == _GROUP]


class Obstacles(NamedTuple):
    """What a label keeps clear of, in pixels: boxes, lines and the others' leaders; and what its own leader avoids."""

    boxes: list[Bbox]
    segments: Floats
    leaders: Floats
    kept_visible: list[Bbox]

    def cost(self, box: Bbox, leader: Floats) -> float:
        """Square pixels that lie on each other, with a leader across another one as a few of them."""
        on_boxes = sum(_overlap(box, other) for other in self.boxes)
        on_lines = float(_through(box, self.segments).sum() + _through(box, self.leaders).sum())
        hidden = sum(float(_through(other, leader[None]).sum()) for other in self.kept_visible)
        # A leader along an error bar reads as a part of it.
        along = float(_through(_middle(leader), self.segments).sum())
        return on_boxes + _LINE_PX * (on_lines + hidden + along) + _CROSSING * _crossed(leader, self.leaders)


def _place(figure: Figure, axes: Axes, note: Annotation, near: Obstacles) -> tuple[Bbox, Floats]:
    """Set a label's place; returns its box, and its leader as x, y at its point and at the label."""
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    size = _text_box(note, renderer)
    x, y = axes.transData.transform(note.xy)
    best: tuple[float, tuple[float, float, str], tuple[Bbox, Floats]] | None = None
    for distance, angle in product(_DISTANCES_PT, _ANGLES):
        dx, dy = pt(distance) * math.cos(angle), pt(distance) * math.sin(angle)
        side = "center" if abs(dx) < 1e-6 else "left" if dx > 0 else "right"
        end = x + dx * figure.dpi / 72, y + dy * figure.dpi / 72
        box = _at(*end, side, size, _pixels(note, _APART_PT))
        leader = np.array([x, y, *end])
        outside = box.width * box.height - _overlap(box, frame)
        cost = 4 * outside + near.cost(box, leader) + distance / 10
        if best is None or cost < best[0]:
            best = cost, (dx, dy, side), (box, leader)
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


def _markers(axes: Axes) -> list[Bbox]:
    """Boxes of the points that lines are drawn through or stand for."""
    from matplotlib.transforms import Bbox

    marked = [line for line in axes.lines if line.get_marker() not in ("None", "none", "", " ", None)]
    places = [line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float)) for line in marked]
    r = pt(_POINT_RADIUS_PT) * axes.figure.dpi / 72
    return [Bbox.from_extents(x - r, y - r, x + r, y + r) for x, y in np.concatenate([*places, np.empty((0, 2))])]


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


def _middle(leader: Floats) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = (leader[:2] + leader[2:]) / 2
    return Bbox.from_extents(x - _LINE_PX / 2, y - _LINE_PX / 2, x + _LINE_PX / 2, y + _LINE_PX / 2)


def _through(box: Bbox, segments: Floats) -> Floats:
    """The length of each segment that lies in a box (Liang and Barsky 1984)."""
    start, step = segments[:, :2], segments[:, 2:] - segments[:, :2]
    low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low - start) / step, (high - start) / step
    along = step != 0
    inside = (start >= low) & (start <= high)
    enter = np.where(along, np.minimum(one, other), np.where(inside, -np.inf, np.inf)).max(axis=1, initial=0)
    leave = np.where(along, np.maximum(one, other), np.where(inside, np.inf, -np.inf)).min(axis=1, initial=1)
    length: Floats = np.clip(leave - enter, 0, None) * np.hypot(step[:, 0], step[:, 1])
    return length


def _crossed(leader: Floats, others: Floats) -> int:
    """How many others a leader crosses: each has its ends on two sides of the other."""

    def side(ends: Floats, x: Any, y: Any) -> Any:
        return (ends[..., 2] - ends[..., 0]) * (y - ends[..., 1]) - (ends[..., 3] - ends[..., 1]) * (x - ends[..., 0])

    apart = side(leader, others[:, 0], others[:, 1]) * side(leader, others[:, 2], others[:, 3]) < 0
    back = side(others, leader[0], leader[1]) * side(others, leader[2], leader[3]) < 0
    return int((apart & back).sum())


def _overlap(one: Bbox, other: Bbox) -> float:
    width: float = min(one.x1, other.x1) - max(one.x0, other.x0)
    height: float = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)
