"""The figure of a sweep over links: a line for what differs by its link alone, and where it crosses the edge."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.figures.links import Point, crossings, links, place_of
from analysis.metrics import energy
from analysis.metrics.registry import measure
from testbed.errors import RecordError


def asked(mbit_s: float | None, rtt_ms: float) -> dict[str, Any]:
    """What a manifest says of a link, as far as the figure reads it."""
    rate = None if mbit_s is None else {"mean": mbit_s, "min": mbit_s, "max": mbit_s}
    way = {"mbit_s": rate, "delay_ms": rtt_ms / 2}
    return {"name": f"{mbit_s} {rtt_ms}", "technology": "wifi", "up": way, "down": way}


def swept(make_cell, places: dict[tuple[float, float], float]) -> list[Any]:
    """An edge alone that takes 21 ms in the median, and a cell that takes so long at each place."""
    cells = [make_cell("edge-only", "edge_only", baseline=True)]
    for position, ((mbit_s, rtt_ms), took_ms) in enumerate(places.items(), 1):
        requested = asked(mbit_s, rtt_ms)
        label = f"co-inference packed, {requested['name']}"
        cells.append(make_cell(label, latency_ms=took_ms, requested=requested, position=position))
    return measure(cells)


def test_a_line_crosses_its_level_between_two_links_where_it_is_drawn_on_logarithmic_scales():
    (found,) = crossings([Point(1, 40, 0), Point(100, 10, 0)], 20)
    assert found.x == pytest.approx(10)
    assert crossings([Point(1, 30, 0), Point(10, 25, 0)], 20) == []
    up_and_down = [Point(1, 40, 0), Point(4, 10, 0), Point(16, 40, 0)]
    assert [crossing.x for crossing in crossings(up_and_down, 20)] == [pytest.approx(2), pytest.approx(8)]


def test_cells_that_differ_by_their_link_alone_are_one_line(make_cell):
    measured = swept(make_cell, {(1, 10): 40, (10, 10): 15, (10, 100): 110})
    figure, caption = links(measured)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["edge-only", "co-inference packed"]
    assert "rate at 10 ms" in caption
    assert "round trip at 10 Mbit/s" in caption
    over_rate = figure.axes[0].containers[0].lines[0]
    assert list(over_rate.get_xdata()) == [1, 10]
    assert list(over_rate.get_ydata()) == [41, 16]
    rings = [line for line in figure.axes[0].lines if line.get_fillstyle() == "none"]
    assert len(rings) == 1
    assert 1 < rings[0].get_xdata()[0] < 10


def test_what_is_emulated_says_so(make_cell):
    figure, _ = links(swept(make_cell, {(1, 10): 40, (10, 10): 15}))
    assert all("emulated" in axes.get_title(loc="right") for axes in figure.axes)


def test_net_energy_has_a_panel_of_its_own_where_gross_is_mostly_idle(make_cell):
    measured = swept(make_cell, {(1, 10): 40, (10, 10): 15})
    figure, caption = links(measured)
    assert [axes.get_ylabel().split("[")[0].strip() for axes in figure.axes][-1].startswith("Net edge energy")
    assert "Net energy is beside gross" in caption
    drawn = figure.axes[-1].containers[0].lines[0].get_ydata()
    assert list(drawn) == pytest.approx([one.get(energy.METRIC).net.mean for one in measured[1:]])


def test_there_is_no_figure_without_links_that_differ(make_cell):
    with pytest.raises(RecordError, match="no two cells differ"):
        links(swept(make_cell, {(1, 10): 40}))


def test_a_link_as_fast_as_the_path_has_no_place(make_cell):
    (_, one) = measure([make_cell("edge-only", "edge_only"), make_cell("x", requested=asked(None, 10), position=1)])
    assert place_of(one) is None
