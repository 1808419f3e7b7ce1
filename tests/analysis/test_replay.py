from __future__ import annotations

import pytest

from analysis.metrics import accuracy, mean_exit
from analysis.replay import replay
from analysis.replay.decide import at, record_of
from testbed.errors import RecordError
from tests.analysis.measuring import value

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


def test_replay_equals_the_record_of_a_cell_that_really_exited(make_cell) -> None:
    exited = make_cell("exit", rule=RULE)
    found = replay(make_cell("full"), "max_softmax", "mean", [0.0, 0.8, 1.1])
    assert 1 < value(mean_exit.METRIC, exited) < 4
    assert found["mean_exit_timestep"].tolist() == pytest.approx([1, value(mean_exit.METRIC, exited), 4])
    assert found["accuracy"][1] == value(accuracy.METRIC, exited).fraction
    assert found["accuracy"][2] == value(accuracy.METRIC, make_cell("full again")).fraction


def test_replay_of_a_threshold_per_timestep_equals_the_record(make_cell) -> None:
    alphas = [0.9, 0.7, 0.5]
    exited = make_cell("exit", rule={**RULE, "threshold": None, "thresholds": alphas})
    found = replay(make_cell("full"), "max_softmax", "mean", [0.8, alphas])
    assert found["mean_exit_timestep"][1] == pytest.approx(value(mean_exit.METRIC, exited))
    assert found["mean_exit_timestep"][1] != found["mean_exit_timestep"][0]
    assert found["accuracy"][1] == value(accuracy.METRIC, exited).fraction


def test_replay_refuses_thresholds_of_another_model(make_cell) -> None:
    with pytest.raises(RecordError, match=r"full: 2 exit thresholds for a model of T=4 timesteps; give 3"):
        replay(make_cell("full"), "max_softmax", "mean", [[0.9, 0.8]])


def test_replay_counts_unanswered_requests_as_wrong(make_cell) -> None:
    lossy = make_cell("lossy", outcomes=dict.fromkeys(range(20), "timeout"))
    assert replay(lossy, "max_softmax", "mean", [1.1])["accuracy"][0] == value(accuracy.METRIC, lossy).fraction <= 0.5


def test_a_cell_that_exited_cannot_be_replayed(make_cell) -> None:
    with pytest.raises(RecordError, match="not every request has all 4 timesteps"):
        replay(make_cell("exit", rule=RULE), "max_softmax", "mean", [0.5])


def test_exits_answers_and_bytes_are_those_of_a_cell_that_really_exited_request_by_request(make_cell) -> None:
    exited, recorded = make_cell("exit", rule=RULE), record_of(make_cell("full"))
    exits = recorded.exits(recorded.sureness("max_softmax", "mean"), 0.8)
    assert exits.tolist() == exited.requests["exit_timestep"].tolist()
    for values, column in (
        (recorded.predictions, "prediction"),
        (recorded.payload_up_bytes, "payload_up_bytes"),
        (recorded.payload_down_bytes, "payload_down_bytes"),
    ):
        assert at(values, exits).tolist() == exited.requests[column].tolist()


def test_a_mode_whose_edge_cannot_stop_is_refused(make_cell) -> None:
    with pytest.raises(RecordError, match="its edge cannot stop early in mode cloud_only"):
        replay(make_cell("cloud", "cloud_only"), "max_softmax", "mean", [0.5])
