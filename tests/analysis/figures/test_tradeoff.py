"""The trade-off: which cells no other beats, and that many cells stay readable."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
from matplotlib.text import Annotation, Text
from msgspec.structs import replace as replaced

from analysis.figures.choose import Query
from analysis.figures.drawing import draw
from analysis.figures.tradeoff import Point, by_task, front
from analysis.metrics import accuracy, energy, latency
from analysis.metrics.measured import Measured
from analysis.metrics.registry import measure


def point(x: float, y: float) -> Point:
    return Point(SimpleNamespace(), x, y, (x, x), (y, y))


def places(points: list[Point]) -> list[tuple[float, float]]:
    return [(each.x, each.y) for each in points]


def test_the_front_holds_what_no_other_point_beats() -> None:
    points = [point(3, 99), point(1, 90), point(2, 95), point(2, 94), point(4, 98)]
    assert places(front(points, up=True)) == [(1, 90), (2, 95), (3, 99)]
    assert places(front(points, up=False)) == [(1, 90)]


def test_points_that_are_alike_do_not_beat_each_other() -> None:
    assert len(front([point(1, 90), point(1, 90), point(1, 89)], up=True)) == 2


def test_every_point_has_the_number_of_its_cell_in_the_key_and_lies_at_its_numbers(campaign) -> None:
    measured = measure(campaign)
    (drawn,) = draw(measured, Query(only=["tradeoff"]))
    named = [text.get_text().split("  ", 1) for text in drawn.figure.legends[0].get_texts()]
    assert [name for _, name in named] == [one.label for one in measured if one.cell.complete]
    of = {number: next(one for one in measured if one.label == name) for number, name in named}
    by_energy, by_latency, both = (
        {note.get_text(): note.xy for note in axes.texts if isinstance(note, Annotation)} for axes in drawn.figure.axes
    )
    for number, one in of.items():
        percent, mj = 100 * one.get(accuracy.METRIC).fraction, one.get(energy.METRIC).gross.mean
        ms = one.get(latency.METRIC).p50_ms
        assert by_energy[number] == (mj, percent)
        assert by_latency[number] == (ms, percent)
        assert both[number] == (ms, mj)


def test_cells_of_another_backbone_have_fronts_of_their_own(make_cell) -> None:
    (first,) = measure([make_cell("resnet", repeats=2)])
    manifest = first.cell.manifest
    other = replaced(manifest, model=replaced(manifest.model, backbone="vgg16"), label="vgg")
    second = replace(first, cell=replace(first.cell, manifest=other))
    (drawn,) = draw([first, second], Query(only=["tradeoff"]))
    titles = [" ".join(axes.get_title("left").split()) for axes in drawn.figure.axes]
    assert titles == 3 * ["digits, resnet18"] + 3 * ["digits, vgg16"]
    assert by_task([first, first]) == [("", [first, first])]


def of_28_cells(one: Measured) -> list[Measured]:
    """The edge by itself and 27 others, scattered: one cell's record under other labels and numbers."""
    rng = np.random.default_rng(4)
    right, took, drew = (one.values[name] for name in ("accuracy", "latency", "energy"))
    made: list[Measured] = []
    for number in range(28):
        named = replace(one.cell, manifest=replaced(one.cell.manifest, label=f"cell {number:02d}"))
        fraction = float(rng.uniform(0.85, 0.99))
        values = {
            "accuracy": replace(right, fraction=fraction, low=fraction - 0.02, high=fraction + 0.01),
            "latency": replace(took, p50_ms=float(rng.uniform(10, 200))),
            "energy": replace(drew, gross=replace(drew.gross, mean=float(rng.uniform(20, 400)))),
        }
        made.append(Measured(named, values))
    return [replace(one, baseline=made[0]) for one in made]


def test_of_28_cells_the_fronts_and_the_edge_are_numbered_and_the_rest_are_listed(make_cell) -> None:
    measured = of_28_cells(*measure([make_cell("one", repeats=2)]))
    (drawn,) = draw(measured, Query(only=["tradeoff"]))
    named = [text.get_text().split("  ", 1)[1] for text in drawn.figure.legends[0].get_texts()]
    listed = " ".join(drawn.figure.get_supxlabel().split())
    assert "cell 00" in named
    assert 3 <= len(named) <= 14
    for one in measured:
        assert (one.label in named) != (one.label in listed)
    notes = [note for axes in drawn.figure.axes for note in axes.texts if isinstance(note, Annotation)]
    assert len({note.get_position() for note in notes}) > 1
    drawn.figure.draw_without_rendering()
    renderer = drawn.figure.canvas.get_renderer()
    for axes in drawn.figure.axes:
        boxes = [Text.get_window_extent(note, renderer) for note in axes.texts if isinstance(note, Annotation)]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
