from __future__ import annotations

import numpy as np
import pytest

from analysis.figures import labels
from analysis.figures.hover import marks
from analysis.figures.style import blank


@pytest.fixture
def figure_and_axes():
    figure, ((axes,),) = blank(1, 1, 2.0)
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 1)
    return figure, axes


def marks_of(figure):
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return marks(figure)


def test_a_point_says_its_name_and_both_values_with_their_units(figure_and_axes) -> None:
    figure, axes = figure_and_axes
    axes.set_xlabel("Latency, median\n(emulated) [ms]")
    axes.set_ylabel("Accuracy [%] (emulated)")
    axes.errorbar([5], [0.5], yerr=[0.1], marker="o", capsize=2, label="cloud-only")
    (mark,) = marks_of(figure)
    assert mark.text == "cloud-only: Latency, median (emulated) 5.00 ms, Accuracy (emulated) 0.500%"


def test_a_mark_lies_on_its_point(figure_and_axes) -> None:
    figure, axes = figure_and_axes
    axes.plot([10], [1], marker="o")
    (mark,) = marks_of(figure)
    right_px, top_px = axes.transData.transform((10, 1))
    assert mark.x + mark.width / 2 == pytest.approx(72 * right_px / figure.dpi)
    assert mark.y + mark.height / 2 == pytest.approx(72 * (2.0 - top_px / figure.dpi))
    assert mark.x < 72 * figure.get_figwidth()


def test_a_numbered_point_is_named_by_the_key(figure_and_axes) -> None:
    figure, axes = figure_and_axes
    axes.scatter([5], [0.5], label="_")
    (handle,) = axes.plot([], [], label="7  co-inference, wifi")
    labels.add(axes, 5, 0.5, "7", "black")
    figure.legend(handles=[handle], loc="outside upper left")
    (mark,) = marks_of(figure)
    assert mark.text.startswith("co-inference, wifi: ")


def test_a_bar_says_its_category_its_part_and_its_length(figure_and_axes) -> None:
    figure, axes = figure_and_axes
    axes.set_xlabel("Mean latency [ms]")
    axes.barh([0.2, 0.7], [3, 0], 0.2, left=[2, 2], label="network")
    axes.set_yticks([0.2, 0.7], ["edge-only", "cloud-only"])
    (mark,) = marks_of(figure)
    assert mark.text == "edge-only, network: Mean latency 3.00 ms"
    left_px, right_px = (axes.transData.transform((x, 0))[0] for x in (2, 5))
    assert mark.x == pytest.approx(72 * left_px / figure.dpi)
    assert mark.width == pytest.approx(72 * (right_px - left_px) / figure.dpi)


def test_traces_in_time_lines_of_reference_and_what_is_outside_have_no_marks(figure_and_axes) -> None:
    figure, axes = figure_and_axes
    axes.plot(np.linspace(0, 10, 500), np.full(500, 0.5))
    axes.axhline(0.5)
    axes.plot([20, np.nan], [0.5, 0.5], marker="o")
    assert marks_of(figure) == []
