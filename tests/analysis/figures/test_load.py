"""The figure of a sweep over rates of arrivals."""

from __future__ import annotations

import pytest
from matplotlib.text import Text

from analysis.figures.latency_cdf import latency_cdf
from analysis.figures.load import load
from analysis.figures.stages import stages
from analysis.figures.tradeoff import tradeoff
from analysis.metrics.registry import measure
from testbed.errors import RecordError
from tests.analysis.conftest import REQUESTS


def at_rates(make_cell, label: str, rates: list[float], mode: str = "co_inference", **asked):
    return [
        make_cell(
            f"{label}, server {rate:g} per s",
            mode,
            scenario={"kind": "server", "target_qps": rate, **asked},
            arrivals_ms=[1000 / rate * number for number in range(REQUESTS)],
        )
        for rate in rates
    ]


def test_cells_that_differ_in_their_rate_alone_are_a_line_in_the_order_of_the_rates(make_cell):
    cells = [
        *at_rates(make_cell, "split", [40, 10, 20], deadline_ms=90),
        *at_rates(make_cell, "edge-only", [10, 20], "edge_only", deadline_ms=90),
        make_cell("one by one"),
        make_cell("at once", scenario={"kind": "offline"}, arrivals_ms=[0.0] * REQUESTS),
    ]
    figure, caption = load(measure(cells))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["split", "edge-only"]
    median, tail = figure.axes
    assert list(median.containers[0].lines[0].get_xdata()) == pytest.approx([10, 20, 40])
    assert list(median.containers[0].lines[0].get_ydata()) == pytest.approx([21, 21, 21])
    assert list(tail.containers[1].lines[0].get_xdata()) == pytest.approx([10, 20])
    assert "99%" in caption
    (at_most,) = {line.get_xdata()[0] for line in median.lines if len(set(line.get_xdata())) == 1}
    assert at_most == pytest.approx(1000 / 21, rel=0.01)
    dotted = [line for line in tail.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == [90]
    assert all("emulated" in axes.get_title(loc="right") for axes in figure.axes)


@pytest.mark.parametrize("draw", [stages, latency_cdf, tradeoff])
def test_a_cell_at_which_all_requests_are_there_at_once_is_in_no_figure_of_latencies(make_cell, draw):
    offline = make_cell("at once", scenario={"kind": "offline"}, arrivals_ms=[0.0] * REQUESTS)
    one_by_one = make_cell("one by one", position=1)
    figure, _ = draw(measure([offline, one_by_one]))
    written = " ".join(text.get_text() for text in figure.findobj(Text))
    assert "one by one" in written
    assert "at once" not in written
    with pytest.raises(RecordError):
        draw(measure([offline]))


def test_there_is_no_figure_of_a_single_rate(make_cell):
    cells = [*at_rates(make_cell, "split", [10]), *at_rates(make_cell, "other", [20], deadline_ms=50)]
    with pytest.raises(RecordError, match="no two cells differ in the rate alone"):
        load(measure(cells))
