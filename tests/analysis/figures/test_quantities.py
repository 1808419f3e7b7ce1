"""What the figures draw are the numbers of the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.container import BarContainer

from analysis.alike import Alike
from analysis.energy import meter
from analysis.figures.calibration import Reliability, calibration, reliabilities
from analysis.figures.energy import energy as draw_energy
from analysis.figures.energy import split_of
from analysis.figures.exit_histogram import exit_histogram, exits_of
from analysis.figures.exits import THRESHOLDS, exits, replayed
from analysis.figures.latency_cdf import latency_cdf
from analysis.figures.power import power
from analysis.figures.stages import said, stages
from analysis.figures.traffic import by_split, traffic
from analysis.metrics import accuracy, energy, latency, mean_exit
from analysis.metrics import stages as stages_metric
from analysis.metrics import traffic as traffic_metric
from analysis.metrics.comparison import Compared
from analysis.metrics.measured import Measured
from analysis.metrics.registry import measure
from analysis.stats import Interval
from testbed.errors import RecordError
from testbed.record.trapezoid import Trace
from tests.analysis.conftest import RULE


def bar_ends(figure) -> np.ndarray:
    """Where the stacked bars of a figure's first panel end."""
    bars = [found for found in figure.axes[0].containers if isinstance(found, BarContainer)]
    return np.sum([[bar.get_width() for bar in each] for each in bars], axis=0)


def test_the_bars_of_stages_are_as_long_as_the_mean_latency(campaign) -> None:
    measured = [one for one in measure(campaign) if one.cell.complete]
    figure, _ = stages(measured)
    means = [Alike(one.answered).mean(one.answered["latency_ms"]) for one in measured]
    assert bar_ends(figure) == pytest.approx(means)
    (level,) = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0, 1]]
    assert level.get_xdata()[0] == pytest.approx(means[0])


def test_an_overlap_is_framed_at_the_end_of_the_edges_work_and_lengthens_nothing(make_cell) -> None:
    cell = make_cell("streamed", latency_ms=20)
    cell.requests["beside_ms"], cell.requests["queue_ms"] = 6.0, 2.0
    one = Measured(cell)
    values = {metric.name: metric.of(one) for metric in (latency.METRIC, stages_metric.METRIC)}
    figure, caption = stages([replace(one, values=values)])
    *parts, overlap = [found for found in figure.axes[0].containers if isinstance(found, BarContainer)]
    mean = np.mean([20 + i % 3 for i in range(40)])
    assert sum(part[0].get_width() for part in parts) == pytest.approx(mean)
    assert overlap.get_label() == "overlap"
    assert overlap[0].get_width() == pytest.approx(6.0)
    assert overlap[0].get_x() + overlap[0].get_width() == pytest.approx(2.0 + 0.5 * mean)
    assert "worked on while answers were under way" in caption


def test_a_speed_up_whose_interval_holds_one_is_not_resolved() -> None:
    total = Interval(20.0, 1.0)
    assert said(total, Compared(1.5, 1.2, 1.8, 1)) == "20.0 ± 1.0, 1.50× (1.20 to 1.80)"
    assert said(total, Compared(1.1, 0.9, 1.3, 1)) == "20.0 ± 1.0, × not resolved"
    assert said(Interval(20.0, None), Compared(1.5, None, None)) == "20.0, 1.50×"
    assert said(total, None) == "20.0 ± 1.0"


def test_net_and_idle_energy_of_the_rails_add_up_to_gross(campaign) -> None:
    measured = [one for one in measure(campaign) if one.cell.complete]
    figure, _ = draw_energy(measured)
    assert bar_ends(figure) == pytest.approx([one.get(energy.METRIC).gross.mean for one in measured])
    nets = [bar.get_width() for bar in figure.axes[0].containers[0]]
    assert nets == pytest.approx([one.get(energy.METRIC).net.mean for one in measured])


def test_each_rail_has_its_own_part_of_the_energy(make_cell, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = measure([make_cell("rails", busy_mw=7000.0)])

    def two_rails(cell, node):
        found = meter(cell, node)
        (trace,) = found.rails.values()
        return replace(found, rails={"CPU": Trace(trace.t_ns, 0.75 * trace.mw), "GPU": Trace(trace.t_ns, trace.mw / 4)})

    monkeypatch.setattr("analysis.figures.energy.meter", two_rails)
    split = split_of(one)
    whole = one.get(energy.METRIC)
    assert split.gross_mj == {
        "CPU": pytest.approx(0.75 * whole.gross.mean),
        "GPU": pytest.approx(whole.gross.mean / 4),
    }
    assert split.net_mj == {"CPU": pytest.approx(0.75 * whole.net.mean), "GPU": pytest.approx(whole.net.mean / 4)}
    figure, _ = draw_energy([one])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:4] == ["CPU, net", "GPU, net", "CPU, idle in that time", "GPU, idle in that time"]


def test_the_energy_of_a_phase_is_power_times_its_time(make_cell) -> None:
    (one,) = measure([make_cell("steady", busy_mw=5000.0)])
    split = split_of(one)
    assert split is not None
    assert split.phase_j["idle_before"] == pytest.approx(5.0 * 2)
    assert split.phase_j["idle_after"] == pytest.approx(5.0 * 2, rel=0.01)  # to the last sample
    assert split.phase_j["warmup"] == pytest.approx(5.0 * 1)


def test_the_exit_histogram_has_the_mean_exit_and_the_wrong_answers(make_cell) -> None:
    (one,) = measure([make_cell("exit", rule=RULE, wrong=3)])
    found = exits_of(one)
    assert found.share.sum() == pytest.approx(1)
    assert float(found.share @ np.arange(1, 5)) == pytest.approx(one.get(mean_exit.METRIC))
    assert found.wrong.sum() == pytest.approx(1 - one.get(accuracy.METRIC).fraction)
    figure, _ = exit_histogram([one])
    widths = [bars[0].get_width() for bars in figure.axes[0].containers]
    assert widths[::2] == pytest.approx((100 * found.share).tolist())
    with pytest.raises(RecordError, match="no cell has an exit"):
        exit_histogram(measure([make_cell("all")]))


def test_traffic_shows_payload_and_wire_by_split(campaign) -> None:
    measured = [one for one in measure(campaign) if one.cell.complete]
    series = by_split(measured)
    assert list(series) == ["resnet18, whole input", "resnet18, split at layer2"]
    figure, _ = traffic(measured)
    (_, sent) = series.values()
    for point in sent:
        found = point.one.get(traffic_metric.METRIC)
        assert (point.payload_bytes, point.wire_bytes) == (found.payload_up_bytes, found.wire_up_bytes)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert sorted(line.get_xdata()[0] for line in hollow) == sorted(
        point.wire_bytes for points in series.values() for point in points
    )


def test_the_curves_of_the_latency_pass_through_the_percentiles(campaign) -> None:
    measured = [one for one in measure(campaign) if one.cell.complete]
    figure, _ = latency_cdf(measured)
    lines = figure.axes[0].lines
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(measured)
    for line, one in zip(lines, measured, strict=True):
        found = one.get(latency.METRIC)
        percents = np.asarray(line.get_ydata())
        assert line.get_xdata()[np.searchsorted(percents, 50)] == pytest.approx(found.p50_ms)
        assert line.get_xdata()[np.searchsorted(percents, 95)] == pytest.approx(found.p95_ms)


def test_the_replayed_curve_holds_what_a_cell_with_that_exit_measured(make_cell) -> None:
    whole, stopped = measure([make_cell("all"), make_cell("exit", rule=RULE)])
    curve = replayed(whole, ("max_softmax", "mean"))
    at = int(np.argmin(np.abs(THRESHOLDS - 0.8)))
    assert curve.accuracy[at] == pytest.approx(stopped.get(accuracy.METRIC).fraction)
    assert curve.timestep[at] == pytest.approx(stopped.get(mean_exit.METRIC))
    assert curve.payload_bytes is not None
    assert curve.payload_bytes[at] == pytest.approx(stopped.get(traffic_metric.METRIC).payload_up_bytes)
    figure, _ = exits([whole, stopped])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "Accuracy [%]", "Mean exit timestep", "Mean payload up\nper request [B]",
    ]  # fmt: skip


def test_the_calibration_error_is_the_mean_distance_between_confidence_and_accuracy() -> None:
    found = Reliability(np.array([0.25, 0.75]), np.array([0.6, 0.9]), np.array([0.5, 0.95]))
    assert found.ece == pytest.approx(0.25 * 0.1 + 0.75 * 0.05)
    pooled = found.pooled(0.5)
    assert (pooled.share.tolist(), pooled.accuracy.tolist()) == ([1.0], [pytest.approx(0.25 * 0.5 + 0.75 * 0.95)])


def test_the_reliability_of_the_last_timestep_has_the_accuracy_of_the_cell(make_cell) -> None:
    (one,) = measure([make_cell("all")])
    last = reliabilities(one)[-1]
    assert last.share.sum() == pytest.approx(1)
    assert float(last.share @ last.accuracy) == pytest.approx(one.get(accuracy.METRIC).fraction)
    figure, _ = calibration([one])
    assert "ECE after timestep" in figure.axes[0].texts[0].get_text()


def test_panels_of_power_share_one_time_and_an_axis_that_does_not_begin_at_zero_is_broken(make_cell) -> None:
    slow, fast = make_cell("slow", latency_ms=90.0), make_cell("fast", "edge_only", latency_ms=10.0)
    figure, caption = power(measure([slow, fast]))
    assert len({axes.get_xlim() for axes in figure.axes}) == len({axes.get_ylim() for axes in figure.axes}) == 1
    assert figure.axes[0].get_ylim()[0] > 0
    assert "broken" in caption
    for axes in figure.axes:
        assert sum(line.get_transform() == axes.transAxes for line in axes.lines) == 2
    figure, _ = power(measure([slow, make_cell("board", "edge_only", emulated=False, busy_mw=9000.0)]))
    assert len({axes.get_ylim() for axes in figure.axes}) == 2
    figure, caption = power(measure([make_cell("hot", busy_mw=12000.0)]))
    assert figure.axes[0].get_ylim()[0] == 0
    assert "broken" not in caption
