"""The figure of the network shows what was carried, what was asked, and where there was nothing."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from msgspec.structs import replace

from analysis.figures.network import network
from analysis.figures.style import BLACK
from analysis.metrics.registry import measure
from testbed.errors import RecordError
from testbed.record.faults import FaultRecord
from tests.analysis.conftest import RULE


def direction(mean: float, delay_ms: float = 5.0) -> dict[str, object]:
    return {"mbit_s": {"mean": mean, "min": mean / 2, "max": 2 * mean}, "delay_ms": delay_ms}


def drawn(*cells) -> tuple[Figure, str]:
    return network(measure(cells))


def carried(figure: Figure, panel: int = 0) -> tuple[float, float]:
    """Bytes under the curves of a panel of rates, up and down."""
    steps = [patch.get_data() for patch in figure.axes[panel].patches if isinstance(patch, StepPatch)]
    up, down = (float((step.values * np.diff(step.edges)).sum()) * 1e6 / 8 for step in steps)
    return up, down


@pytest.mark.parametrize("shaped_by_user", [False, True])
def test_the_area_under_the_rates_is_what_was_carried(make_cell, shaped_by_user: bool) -> None:
    cell = make_cell("wifi", shaped_by_user=shaped_by_user)
    figure, _ = drawn(cell)
    rows = cell.requests[cell.requests["repeat"] == 0]
    # The last request's bytes are there a reading later.
    assert carried(figure)[0] == pytest.approx(rows["wire_up_bytes"].sum(), rel=0.08)
    assert carried(figure)[1] == pytest.approx(rows["wire_down_bytes"].sum(), rel=0.08)


def test_outages_are_shaded_and_named(make_cell) -> None:
    cell = make_cell(
        "outage",
        rule=RULE,
        outcomes={5: "timeout", 6: "timeout", 20: "error"},
        fell_back=[10, 11],
        no_network_s=(0.1, 0.7),
    )
    figure, caption = drawn(cell)
    assert "Shaded: not answered, answered by the edge, no connection." in caption
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "up", "down", "not answered", "answered by the edge", "no connection",
    }  # fmt: skip
    assert "none" in [label.get_text() for label in figure.axes[3].get_yticklabels()]
    lost = [line for line in figure.axes[3].lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in lost] == [3]


def test_faults_are_bars_on_the_edges_clock_and_a_counter_that_begins_anew_goes_on(make_cell) -> None:
    cell = make_cell("struck")
    requests = cell.requests[cell.requests["repeat"] == 0]
    origin = int(requests["t_start_ns"].min())
    faults = [
        FaultRecord(fault="edge_killed", from_ns=origin + 200_000_000, until_ns=origin + 400_000_000),
        FaultRecord(fault="link_down", from_ns=origin + 600_000_000, until_ns=None),
    ]
    object.__setattr__(cell, "manifest", replace(cell.manifest, faults={"0": faults}))
    rows = cell.network
    late = rows["t_ns"] > origin + 400_000_000
    at_400_ms = rows.loc[~late & (rows["interface"] == "data"), ["tx_bytes", "rx_bytes"]].iloc[-1]
    rows.loc[late, ["tx_bytes", "rx_bytes"]] -= at_400_ms
    figure, caption = drawn(cell)
    assert "Black bars: a fault" in caption
    bars = [patch for patch in figure.axes[2].patches if patch.get_facecolor()[:3] == to_rgb(BLACK)]
    end_s = (int(requests["t_end_ns"].max()) - origin) / 1e9
    found = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert np.allclose(found, [(0.2, 0.4), (0.6, end_s)])
    assert carried(figure)[0] == pytest.approx(requests["wire_up_bytes"].sum(), rel=0.08)


def test_what_was_asked_is_drawn_where_it_is_near_and_said_where_it_is_far(make_cell) -> None:
    near, _ = drawn(make_cell("near", requested={"up": direction(0.05), "down": direction(0.05), "name": "made"}))
    assert sum(line.get_linestyle() == "--" for line in near.axes[0].lines) == 2
    assert not near.axes[0].texts
    (line,) = [line for line in near.axes[1].lines if line.get_linestyle() == "--"]
    assert list(line.get_ydata()) == [10.0, 10.0]
    far, caption = drawn(make_cell("far", requested={"up": direction(20), "down": {"mbit_s": None, "delay_ms": 1.0}}))
    assert not any(line.get_linestyle() == "--" for line in far.axes[0].lines)
    assert far.axes[0].texts[0].get_text() == "asked: up 20 Mbit/s"
    assert "asked of the link" in caption


def test_a_link_of_which_nothing_was_asked_is_drawn_as_it_is(make_cell) -> None:
    figure, caption = drawn(make_cell("as it is"))
    assert "asked" not in caption
    assert not any(line.get_linestyle() == "--" for axes in figure.axes for line in axes.lines)


def test_two_cells_at_most_are_shown_and_codes_with_an_exit_come_first(make_cell) -> None:
    cells = [
        make_cell("edge only", "edge_only"),
        make_cell("cloud only", "cloud_only", payload_per_step=3072),
        make_cell("all"),
        make_cell("exit", rule=RULE, emulated=False),
    ]
    figure, _ = drawn(*cells)
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["exit", "all"]
    assert [axes.get_title("right") for axes in figure.axes[:2]] == ["", "emulated"]
    assert "(emulated)" in figure.axes[1].get_ylabel()


def test_cells_without_counters_are_no_figure(make_cell) -> None:
    with pytest.raises(RecordError, match="no cell has counters of its data connection"):
        drawn(make_cell("edge only", "edge_only"))
