from __future__ import annotations

import csv
import io
import json

import pytest

from testbed.cli.replay import alphas, replay
from testbed.errors import TestbedError

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


def test_a_range_has_both_ends_and_no_rounding_noise() -> None:
    assert alphas("0.5:0.99:0.01") == [round(0.5 + 0.01 * step, 2) for step in range(50)]
    assert alphas("0.8") == [0.8]
    assert alphas("0.9:0.9:0.1") == [0.9]
    assert alphas("0.99,0.9,0.8") == [[0.99, 0.9, 0.8]]


@pytest.mark.parametrize(
    "text", ["high", "0.5:0.9", "0.9:0.5:0.1", "0.5:0.9:0", "0.5:0.9:-0.1", "0:1:1e-9", "nan", "1,a"]
)
def test_an_exit_that_is_none_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(TestbedError, match=f"--exit {text}: expected a number, a range FROM:TO:STEP"):
        alphas(text)


def test_a_campaign_replays_every_cell_that_ran_all_timesteps(make_cell, capsys) -> None:
    folder = make_cell("full").folder.parent
    make_cell("exit", rule=RULE, position=1)
    make_cell("cloud", "cloud_only", position=2)
    replay(folder, ["0.8", "0.9,0.8,0.7"])
    said = capsys.readouterr().out
    assert "full: max_softmax of the mean, ± 95% over 3 repeats" in said
    assert "120 of 120 requests have the exit, answer and payload of the replay" in said
    assert "0.9 0.8 0.7" in said
    replay(folder, ["0.8"], as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [cell["label"] for cell in document["cells"]] == ["full"]
    assert document["cells"][0]["curve"][0]["predicted_latency_p50_ms"] is None
    assert "no times of single timesteps" in document["cells"][0]["not_predicted"]
    assert document["checks"][0]["same"] == 120


def test_one_cell_is_replayed_as_csv(make_cell, capsys) -> None:
    replay(make_cell("full").folder, ["0:1:0.5"], as_csv=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], row["threshold"]) for row in rows] == [("full", "0"), ("full", "0.5"), ("full", "1")]
    assert float(rows[0]["mean_exit_timestep"]) == 1
    assert rows[0]["predicted_energy_mj"] == ""


def test_a_list_of_another_length_is_told_once_for_all_cells(make_cell) -> None:
    folder = make_cell("one").folder.parent
    make_cell("two", position=1)
    with pytest.raises(TestbedError) as refused:
        replay(folder, ["0.9,0.8"])
    assert str(refused.value).endswith(
        "nothing to replay: one; two: 2 exit thresholds for a model of T=4 timesteps; give 3, one for each timestep "
        "but the last, which always exits"
    )


def test_results_in_which_nothing_ran_to_the_end_are_refused(make_cell) -> None:
    with pytest.raises(TestbedError, match="no cell ran all its timesteps without an exit"):
        replay(make_cell("exit", rule=RULE).folder, ["0.8"])
