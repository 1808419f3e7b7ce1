"""How requests would have waited for their turn if they had taken another time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.replay import curve
from analysis.replay.queued import latency_from_arrival_ms
from tests.analysis.conftest import REQUESTS
from tests.analysis.timed import MS, Timing, timed

TIMING = Timing()


def requests(arrivals_ms: list[float], took_ms: list[float], pause_ms: float = 1.0, repeat: int = 0) -> pd.DataFrame:
    """Requests one after the other as an edge records them."""
    rows, over_ms = [], -np.inf
    for number, (arrival_ms, each_ms) in enumerate(zip(arrivals_ms, took_ms, strict=True)):
        start_ms = max(arrival_ms, over_ms + pause_ms)
        over_ms = start_ms + each_ms
        rows.append(("board", repeat, number, *(round(at * MS) for at in (arrival_ms, start_ms, over_ms))))
    names = ["node", "repeat", "request_id", "t_arrival_ns", "t_start_ns", "t_end_ns"]
    return pd.DataFrame(rows, columns=names)


def from_arrival_ms(rows: pd.DataFrame) -> list[float]:
    return ((rows["t_end_ns"] - rows["t_arrival_ns"]) / MS).tolist()


def test_requests_that_take_as_long_as_they_did_wait_as_they_did():
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(20, 300)).tolist()
    took = rng.uniform(5, 25, 300)
    rows = pd.concat([requests(arrivals, took.tolist(), repeat=repeat) for repeat in (0, 1)], ignore_index=True)
    found = latency_from_arrival_ms(rows, np.tile(took, 2), all_at_once=False)
    assert found == pytest.approx(from_arrival_ms(rows))


def test_shorter_requests_leave_others_less_to_wait_for():
    rows = requests([0, 5, 10, 100], [20, 20, 20, 20])
    found = latency_from_arrival_ms(rows, np.array([8.0, 8, 8, 8]), all_at_once=False)
    # 0-8, 9-17 (from 5), 18-26 (from 10), 100-108
    assert found == pytest.approx([8, 12, 16, 8])
    assert found == pytest.approx(from_arrival_ms(requests([0, 5, 10, 100], [8, 8, 8, 8])))


def test_longer_ones_make_those_wait_that_did_not():
    rows = requests([0, 30, 60], [20, 20, 20])
    found = latency_from_arrival_ms(rows, np.array([40.0, 40, 40]), all_at_once=False)
    assert found == pytest.approx([40, 50, 60])  # nothing followed on another, so no pause is known


def test_offline_a_pass_is_there_when_the_one_before_is_over():
    rows = requests([0, 0, 42, 42], [20, 20, 20, 20])
    found = latency_from_arrival_ms(rows, np.array([10.0, 10, 10, 10]), all_at_once=True)
    assert found == pytest.approx([10, 21, 10, 21])
    longer = latency_from_arrival_ms(rows, np.array([30.0, 30, 30, 30]), all_at_once=True)
    assert longer == pytest.approx([30, 61, 30, 61])


def test_a_replay_of_a_server_has_its_queue_simulated_and_its_energy_left_out(make_cell):
    cell = timed(
        make_cell("full", latency_ms=60, scenario={"kind": "server", "target_qps": 20.0}, arrivals_ms=[0.0] * REQUESTS),
        TIMING,
    )
    rows = cell.requests
    rows["t_arrival_ns"] = rows.groupby("repeat")["t_start_ns"].transform("min")
    rows["latency_ms"] = (rows["t_end_ns"] - rows["t_arrival_ns"]) / MS
    found = curve(cell, "max_softmax", "mean", [0.0, 1.1])
    numbers = np.arange(REQUESTS)
    for row, timesteps in ((0, 1), (1, 4)):
        expected = TIMING.latency_ms(timesteps) * (numbers + 1) + TIMING.pause_ms * numbers
        assert found["predicted_latency_mean_ms"][row] == pytest.approx(expected.mean())
    assert found["predicted_latency_mean_ms"][1] == pytest.approx(rows["latency_ms"].mean())
    assert np.isnan(found["predicted_energy_mj"]).all()
    assert "its energy is not predicted" in found.attrs["not_predicted"]


def test_nothing_is_predicted_where_others_waited_for_a_request_that_has_no_answer(make_cell):
    cell = make_cell(
        "lossy",
        scenario={"kind": "server", "target_qps": 20.0},
        arrivals_ms=[0.0] * REQUESTS,
        outcomes={3: "timeout"},
    )
    steps = cell.timesteps.copy()
    steps["t_send_ns"], steps["t_reply_ns"] = 1, 2
    vars(cell).update(timesteps=steps)
    found = curve(cell, "max_softmax", "mean", [1.1])
    assert "3 of its requests were not answered" in found.attrs["not_predicted"]
