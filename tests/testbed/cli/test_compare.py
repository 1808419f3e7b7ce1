from __future__ import annotations

import json

import pytest
import typer

from testbed.cli.compare import compare, tolerances
from testbed.errors import TestbedError


def code(*arguments, **options) -> int:
    try:
        compare(*arguments, **options)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_the_exit_code_says_whether_anything_differs(make_cell, capsys) -> None:
    fast, again, slow = (
        make_cell(label, latency_ms=ms, jitter_mw=5).folder for label, ms in (("fast", 20), ("again", 20), ("slow", 24))
    )
    assert code(fast, again) == 0
    assert "0 of 7 numbers differ beyond noise" in capsys.readouterr().out
    assert code(fast, slow) == 1
    said = capsys.readouterr().out
    assert "4 of 7 numbers differ beyond noise" in said
    gross, net = said.index("energy_mj [mJ]"), said.index("energy_net_mj [mJ]")
    assert gross < net
    assert code(fast, slow, within=["30%"]) == 0
    assert code(fast, slow, within=["30%", "latency_p50_ms=5%"], as_json=True) == 1
    out = capsys.readouterr().out
    document = json.loads(out[out.index("{") :])
    (pair,) = document["pairs"]
    beyond = [each["name"] for each in pair["numbers"] if each["verdict"] == "beyond noise"]
    assert (document["differs"], beyond) == (True, ["latency_p50_ms"])
    assert [each["name"] for each in pair["numbers"]][-2:] == ["energy_mj", "energy_net_mj"]


def test_what_cannot_be_compared_has_a_code_of_its_own(make_cell, capsys, tmp_path) -> None:
    one, once = make_cell("one").folder, make_cell("once", repeats=1).folder
    assert code(one, one) == 2
    assert code(one, tmp_path / "none") == 2
    assert code(once, make_cell("once more", repeats=1).folder) == 2
    assert code(one, once, within=["a lot"]) == 2
    said = capsys.readouterr().err
    for reason in (
        "A and B are the same results",
        "no such results",
        "nobody knows the noise",
        "expected a percentage",
    ):
        assert reason in said


def test_a_pair_that_cannot_be_compared_is_no_pass(make_cell, tmp_path, capsys) -> None:
    ours = make_cell("first"), make_cell("second", latency_ms=30, position=1)
    a, b = tmp_path / "toy", tmp_path / "b"
    a.rename(b)
    assert ours[0].folder.parent == a
    make_cell("first")
    make_cell("second", state="failed", reasons=["server: went silent"], position=1)
    assert code(a, b) == 2
    assert "not compared: second: not complete in A" in capsys.readouterr().out


def test_tolerances_are_of_every_number_or_of_one() -> None:
    assert tolerances(["5%", "accuracy=0.5%"]) == {"": 0.05, "accuracy": 0.005}
    with pytest.raises(TestbedError, match="no number speed is compared; there is accuracy, mean_exit_timestep"):
        tolerances(["speed=5%"])
