"""A campaign may be larger than memory: what is read goes again, and the short ways give the long ways' numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.alike import Alike
from analysis.metrics import code_bits
from analysis.metrics.registry import measure
from testbed.record.reader import read_campaign
from testbed.record.tables import TABLES
from testbed.record.trapezoid import Trace, weights
from tests.analysis.measuring import value

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


def test_a_campaign_that_was_measured_holds_no_tables(make_cell) -> None:
    folder = make_cell("edge only", "edge_only", baseline=True).folder.parent
    make_cell("co-inference", position=1)
    measured = measure(read_campaign(folder, pytest.fail))
    held = [name for one in measured for cell in (one.cell, one.baseline.cell) for name in vars(cell) if name in TABLES]
    assert (len(measured), held) == (2, [])


def test_groups_are_those_of_the_pairs_of_repeat_and_sample() -> None:
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"repeat": rng.integers(0, 5, 400), "sample_index": rng.integers(0, 60, 400)})
    took = rng.exponential(10, 400)
    by_hand = pd.DataFrame({**rows, "took": took}).groupby(["repeat", "sample_index"])["took"].mean()
    assert Alike(rows).per_repeat(took) == pytest.approx(by_hand.groupby("repeat").mean().to_dict(), rel=1e-14)


def test_each_code_counts_for_the_request_that_it_was_sent_for(make_cell) -> None:
    rates = [[0.1 + 0.2 * t] * 16 for t in range(4)]
    cell = make_cell("co", rule=RULE, code_rates=rates, asked=[[*range(20)] * 2, range(10, 30), range(20, 40)])
    keys = ["node", "repeat", "request_id"]
    steps = cell.timesteps.groupby(keys, as_index=False)["payload_bytes"].agg(["count", "sum"])
    joined = cell.requests.merge(steps, on=keys)
    alike = Alike(joined)
    found = value(code_bits.METRIC, cell)
    assert found.sent == pytest.approx(8 * alike.mean(joined["sum"]) / alike.mean(joined["count"]), rel=1e-14)
    assert joined["count"].nunique() > 1


def test_some_columns_of_a_table_are_those_of_the_whole(make_cell) -> None:
    cell = make_cell("co")
    names = ["timestep", "node", "payload_bytes"]
    pd.testing.assert_frame_equal(cell.columns("timesteps", *names), cell.timesteps[names])


@pytest.mark.parametrize("window", [(0, 990), (100, 300), (105, 306), (311, 314), (0, 10), (980, 990)])
def test_the_samples_over_a_window_give_the_energy_of_all(window: tuple[int, int]) -> None:
    trace = Trace(np.arange(0, 1000, 10), np.random.default_rng(5).normal(5000, 100, 100))
    near = trace.over(*window)
    assert near.energy_mj(*window) == pytest.approx(float(weights(trace.t_ns, *window) @ trace.mw), rel=1e-14)
    assert len(near.t_ns) <= (window[1] - window[0]) / 10 + 3


@pytest.mark.parametrize("window", [(-5, 20), (20, 991), (-9, -5), (1000, 1100)])
def test_samples_that_do_not_cover_a_window_are_all_there_to_be_told_of(window: tuple[int, int]) -> None:
    trace = Trace(np.arange(0, 1000, 10), np.ones(100))
    assert trace.over(*window) is trace
