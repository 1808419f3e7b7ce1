"""What an experiment asks for is known before anything is exported, and what an ANN cannot do is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from testbed.campaign.asked import Asked, read
from testbed.errors import ExperimentError

ROOT = Path(__file__).parents[3]
RECIPE = {
    "dataset": {"name": "digits", "image_size": 32, "channels": 1},
    "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.1}]},
}
PIXELS = {"split": "stem", "bottleneck": {"channels": 8, "stride": 4, "encoder": "pixels", "layers": 4}}


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Asked]:
    def asked(*cells: dict[str, object]) -> Asked:
        for name, rest in (
            ("lif", {"backbone": {}, "timesteps": 2, "variants": {"plain": {"split": "stem"}, "pixels": PIXELS}}),
            ("relu", {"backbone": {"neuron": "relu"}, "timesteps": 1}),
        ):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(RECIPE | {"name": name} | rest))
        plain, ann = {"recipe": "lif.yaml", "variant": "plain"}, {"recipe": "relu.yaml", "weights": "int8"}
        boards = (("edge", "emulated-orin-nano"), ("cloud", "emulated-t4"))
        document = {
            "name": "beside",
            "models": {"plain": plain, "ann": ann},
            "nodes": {role: str(ROOT / "devices" / f"{board}.yaml") for role, board in boards},
            "cells": [{"mode": "edge_only", "model": "plain"}, *cells],
        }
        path = tmp_path / "beside.yaml"
        path.write_text(yaml.safe_dump(document))
        return read(path, tmp_path / "results")

    return asked


def test_an_ann_stands_beside_the_spiking_network_and_is_compared_with_it(asked):
    found = asked({"mode": "edge_only", "model": "ann"}, {"mode": "cloud_only", "model": "ann"})
    assert found.labels == ["edge-only", "edge-only ANN int8", "cloud-only ANN int8"]
    assert (found.added, found.compared) == (0, {"plain": "plain", "ann": "plain"})


def test_a_code_of_pixels_is_told_from_one_of_features_at_the_same_split(asked):
    coded = {"mode": "co_inference", "model": "plain", "codec": "packed"}
    found = asked(coded, coded | {"variant": "pixels"})
    assert found.labels[1:] == ["co-inference 32x packed", "co-inference from pixels 4096x packed"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            {"mode": "co_inference", "codec": "packed"},
            "co_inference sends spikes, and ann is a relu network",
        ),
        (
            {"mode": "edge_only", "exit": {"threshold": 0.9}},
            "ann is a relu network of one timestep, so there",
        ),
        ({"mode": "edge_only", "exit": {"calibrate": {"drop": 1}}}, "one timestep, so there is nothing to exit from"),
        ({"mode": "edge_only", "variant": "plain"}, "a relu network is not cut, so it has no variant 'plain'"),
    ],
)
def test_what_an_ann_cannot_do_is_one_line(asked, cell, said):
    with pytest.raises(ExperimentError, match=said) as found:
        asked(cell | {"model": "ann"})
    assert "\n" not in str(found.value)


def test_an_ann_that_is_no_baseline_is_not_measured_again(asked):
    once = {"mode": "edge_only", "model": "ann"}
    with pytest.raises(ExperimentError, match="again: true is for the baseline alone, and ann, a relu network, is"):
        asked(once, once | {"again": True})
