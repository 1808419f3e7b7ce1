"""Labels keep clear of each other, of points and of error bars, and lie where they lay the last time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.text import Annotation, Text

from analysis.figures import labels
from analysis.figures.style import blank


def settled(points) -> tuple[Axes, list]:
    """The axes, and the box of each label in pixels."""
    figure, ((axes,),) = blank(1, 1, 3.0)
    for number, (x, y) in enumerate(points):
        axes.errorbar(x, y, xerr=0.02, yerr=0.03, color="black", marker="o", markersize=5)
        labels.add(axes, x, y, str(number), "black")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    figure.draw_without_rendering()
    labels.settle(figure)
    renderer = figure.canvas.get_renderer()
    notes = [text for text in axes.texts if isinstance(text, Annotation)]
    return axes, [Text.get_window_extent(note, renderer) for note in notes]


CLOSE = [(0.5, 0.5), (0.52, 0.5), (0.5, 0.52), (0.98, 0.98), (0.02, 0.02)]


def test_labels_of_close_points_lie_apart_so_that_two_numbers_do_not_read_as_one() -> None:
    rng = np.random.default_rng(3)
    layouts = [CLOSE, *([(x, 0.93), (x + 0.03, 0.93), (x + 0.06, 0.93)] for x in rng.uniform(0.2, 0.7, 12))]
    for points in layouts:
        for one, other in combinations(settled(points)[1], 2):
            assert not one.padded(1.5).overlaps(other.padded(1.5)), points


def test_a_label_lies_on_no_point_and_inside_the_axes() -> None:
    axes, boxes = settled(CLOSE)
    frame = axes.get_window_extent()
    pixels = axes.transData.transform(CLOSE)
    for box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        assert not any(box.contains(x, y) for x, y in pixels)


def test_a_label_lies_on_no_line() -> None:
    figure, ((axes,),) = blank(1, 1, 3.0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    labels.add(axes, 0.5, 0.5, "12", "black")
    figure.draw_without_rendering()
    x, y = axes.transData.transform((0.5, 0.5))
    # Through the middle of the nearest place, the one that a label takes where nothing is in its way.
    ends = [(x + way * np.cos(np.radians(20)), y + way * np.sin(np.radians(20))) for way in (-90, 90)]
    axes.plot(*axes.transData.inverted().transform(ends).T, color="black")
    labels.settle(figure)
    (note,) = axes.texts
    assert not Path(ends).intersects_bbox(Text.get_window_extent(note, figure.canvas.get_renderer()), filled=False)


def test_a_label_lies_on_no_line_that_leads_to_another_label() -> None:
    rng = np.random.default_rng(5)
    for _ in range(8):
        points = (0.5 + rng.uniform(-0.03, 0.03, (6, 2))).tolist()
        axes, boxes = settled(points)
        ends = [axes.transData.transform(note.xy) + np.array(note.get_position()) * axes.figure.dpi / 72
                for note in axes.texts]  # fmt: skip
        leaders = [Path([axes.transData.transform(point), end]) for point, end in zip(points, ends, strict=True)]
        on_another = [(at, other) for at, box in enumerate(boxes) for other, leader in enumerate(leaders)
                      if at != other and leader.intersects_bbox(box, filled=False)]  # fmt: skip
        assert on_another == []


NONE = np.empty((0, 4))
CLEAR = labels.Obstacles(NONE, NONE, NONE, NONE)
HERE, LEADER = np.array([[0.0, 0, 10, 10]]), np.array([[100.0, 100, 110, 100]])


@pytest.mark.parametrize(
    ("in_the_way", "cost"),
    [
        ({}, 0),
        ({"boxes": [[5, 5, 20, 20], [7, 0, 10, 2], [30, 30, 40, 40]]}, 25 + 6),
        ({"segments": [[-5, 5, 6, 5], [3, -20, 3, 20], [-5, 11, 20, 11], [11, -5, 11, 5]]}, 4 * (6 + 10)),
        ({"segments": [[90, 100, 120, 100]]}, 4 * 4),
        ({"leaders": [[-6, 8, 2, 2]]}, 4 * 2.5),
        ({"leaders": [[105, 90, 105, 110], [115, 90, 115, 110], [105, 101, 105, 110]]}, 40),
        ({"kept_visible": [[102, 95, 105, 105], [102, 101, 105, 105]]}, 4 * 3),
    ],
)
def test_a_place_costs_what_its_label_lies_on_and_what_its_leader_hides(in_the_way, cost: float) -> None:
    """Of a label at `HERE` with a leader far from it; and of one more that nothing is in the way of."""
    near = CLEAR._replace(**{name: np.array(rows, dtype=float) for name, rows in in_the_way.items()})
    away = HERE + 1000, LEADER + 1000
    costs = near.costs(np.concatenate([HERE, away[0]]), np.concatenate([LEADER, away[1]]))
    assert costs == pytest.approx([cost, 0])


def test_the_same_points_have_their_labels_in_the_same_places() -> None:
    points = np.random.default_rng(1).uniform(0.1, 0.9, (12, 2)).tolist()
    first, again = settled(points)[1], settled(points)[1]
    assert [box.extents.tolist() for box in first] == [box.extents.tolist() for box in again]
