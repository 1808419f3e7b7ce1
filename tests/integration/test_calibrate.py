"""α from validation data: the command, and a campaign that asks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from analysis.replay import checks

pytestmark = pytest.mark.timeout(300)  # the first test of a session exports the model

RECIPE = Path(__file__).parents[2] / "experiments" / "train" / "digits-resnet18.yaml"


def test_the_command_prints_a_block_that_an_experiment_can_say(lab) -> None:
    asked = ("--drop", "0.5", "--per-timestep", "--policy", "margin", "--results", lab.results)
    done = lab.run("calibrate", RECIPE, "coded", *asked)
    assert done.code == 0, done.text
    assert "the test set was not used" in done.out
    assert "143 validation samples" in done.out
    block = yaml.safe_load(re.search(r"^exit: \{.*\}$", done.out, re.MULTILINE)[0])
    assert block["exit"]["policy"] == "margin"
    assert len(block["exit"]["thresholds"]) == 3

    wrong = lab.told("calibrate", RECIPE, "coded", "--drop", "0.5", "--policy", "luck", "--results", lab.results)
    assert wrong.code == 1
    assert wrong.err.startswith("testbed: no exit policy luck of the mean: --policy max_softmax or entropy or margin")


def test_a_campaign_runs_with_calibrated_thresholds_and_says_where_they_come_from(lab, fingerprints) -> None:
    cells = (
        {"mode": "co_inference", "model": "coded", "codec": "packed"},
        {"mode": "co_inference", "model": "coded", "codec": "packed", "exit": {"calibrate": {"drop": 1}}},
        {"mode": "edge_only", "model": "coded", "exit": {"calibrate": {"drop": 1, "per_timestep": True}}},
    )
    experiment = lab.experiment(*cells, scenario={"requests": 40, "warmup": 1})
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert done.code == 0, done.text

    whole, single, each = lab.cells()
    for cell, network in ((single, "split"), (each, "full")):
        origin = cell.manifest.exit.calibrated
        assert origin["settings"]["network"] == network
        assert origin["validation"]["artefact"] == cell.manifest.model.hash
        assert origin["validation"]["samples"] == 143
        assert origin["found"]["drop"]["points"] <= 1
        assert cell.requests["exit_timestep"].mean() < 4
    alphas = each.manifest.exit.thresholds
    assert len(alphas) == 3
    reached = each.timesteps["confidence"] >= each.timesteps["timestep"].map(dict(enumerate([*alphas, 0.0])))
    last = each.timesteps.groupby("request_id")["timestep"].transform("max") == each.timesteps["timestep"]
    assert (reached == last).all()
    (check,) = checks([whole, single])
    assert check.requests == check.same == 40  # one pass, however often a fast cell went over its samples
    assert {"predicted_latency_p50_ms", "predicted_energy_mj"} < {error.name for error in check.errors}
    assert "exit at drop 1" in single.manifest.label

    before = fingerprints(lab.results)
    again = lab.told("plan", experiment, "--results", lab.results)
    assert "0 repeats to measure" in again.out, again.text
    assert fingerprints(lab.results) == before  # a plan computes nothing


def test_thresholds_of_another_model_are_refused_before_anything_runs(lab) -> None:
    cell = {"mode": "co_inference", "model": "coded", "codec": "packed", "exit": {"thresholds": [0.9, 0.8]}}
    done = lab.told("run", lab.experiment(cell), "--results", lab.results, "--no-report")
    assert done.code == 1
    assert done.err.startswith("testbed: co-inference")
    assert "2 exit thresholds for a model of T=4 timesteps; give 3" in done.err
    assert not lab.campaign.exists()
