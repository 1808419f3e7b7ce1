"""`weights: int8` from the recipe to the answers: what nodes compute is SpikingJelly's int8 form, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from spikingjelly.activation_based import functional
from torch import nn

from testbed.data.datasets import load
from testbed.snn.artefact import deployed_networks
from testbed.snn.build import build
from testbed.snn.checkpoint import save_checkpoint
from testbed.snn.recipe import load_recipe

pytestmark = pytest.mark.timeout(400)

RECIPE = {
    "name": "tiny",
    "dataset": {"name": "digits", "image_size": 8, "channels": 1},
    "backbone": {"width": 4},
    "timesteps": 2,
    "variants": {"coded": {"split": "stage1", "bottleneck": {"channels": 2, "stride": 2}}},
    "training": {"batch_size": 16, "phases": [{"train": "backbone", "epochs": 1, "lr": 0.01}]},
    "checkpoint": "tiny.safetensors",
}


def _enliven(network: nn.Module) -> None:
    """Make an untrained network's deep neurons fire."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 4.0)
            nn.init.uniform_(module.bias, -0.5, 1.5)


def test_a_campaign_with_weights_of_8_bits_answers_as_spikingjelly_does(lab) -> None:
    recipe = lab.folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    read = load_recipe(recipe)
    dataset = load(read.dataset)
    torch.manual_seed(0)
    networks = build(read, dataset)  # untrained: that takes no time
    for network in networks.values():
        _enliven(network)
    save_checkpoint(networks, read, lab.folder / "tiny.safetensors")
    (lab.results / "models").unlink()  # those that the tests share
    lab.environment["OMP_NUM_THREADS"] = "1"  # two threads that wait for each other take longer
    experiment = lab.experiment(
        {"mode": "edge_only", "model": "eight"},
        {"mode": "co_inference", "model": "eight", "codec": "packed"},
        models={"eight": {"recipe": str(recipe), "variant": "coded", "weights": "int8"}},
    )

    done = lab.run("run", experiment, "--results", lab.results, "--no-report", seconds=280)

    assert done.code == 0, done.text
    networks = deployed_networks(recipe, lab.results / "models", dataset, "int8")
    for cell, network in zip(lab.cells(), (networks["full"], networks["coded"]), strict=True):
        assert cell.manifest.model.weights == "int8"
        assert sum(work.int8_macs for work in cell.manifest.model.graphs.values()) > 0
        requests, timesteps = (
            cell.requests.set_index("request_id"),
            cell.timesteps.set_index(["request_id", "timestep"]),
        )
        assert set(requests["outcome"]) == {"ok"}
        samples = torch.from_numpy(dataset.test.images[requests["sample_index"].to_numpy()])
        with torch.inference_mode():
            logits = network(samples, RECIPE["timesteps"]).numpy()  # [T, N, K]
        assert len(np.unique(logits[-1], axis=0)) > 1  # else nothing fires, and any weights would do
        functional.reset_net(network)
        for position, request in enumerate(requests.index):
            for t in range(RECIPE["timesteps"]):
                np.testing.assert_array_equal(timesteps.loc[(request, t), "logits"], logits[t, position])
