"""Packed weights: integers on a power-of-two grid, in one compressed file."""

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.snn import packed
from testbed.snn.build import build
from testbed.snn.deployable import deployable
from testbed.snn.network import Network
from testbed.snn.recipe import Recipe, load_recipe
from tests.testbed.snn.made import recipe_file, stripes, trained

BACKBONE = {"train": "backbone", "epochs": 2, "lr": 0.01}
ALL = {"train": "all", "epochs": 1, "lr": 0.01, "frozen": ["stage4"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, dict[str, Network]]:
    """A recipe and its trained networks; the coded variant left stage 4 as it was."""
    folder = tmp_path_factory.mktemp("packed")
    path = recipe_file(folder, phases=[BACKBONE, ALL])
    return load_recipe(path), trained(path, stripes(), folder / "training")


def coarse(networks: dict[str, Network]) -> dict[str, Network]:
    return {name: packed.coarsened(networks[name]) for name in ("full", "coded")}


def answers(network: Network) -> torch.Tensor:
    functional.reset_net(network)
    with torch.no_grad():
        return network(torch.from_numpy(stripes().test.images[:8]), 2)


def test_what_is_unpacked_is_what_was_packed(made, tmp_path):
    recipe, networks = made
    kept = coarse(networks)
    packed.pack(kept, recipe, tmp_path / "weights.xz")
    fresh = build(recipe, stripes())
    packed.unpack(fresh, recipe, tmp_path / "weights.xz")
    for name, network in kept.items():
        for key, value in network.state_dict().items():
            assert torch.equal(fresh[name].state_dict()[key], value), f"{name}.{key}"
        assert torch.equal(answers(fresh[name]), answers(network))
    assert torch.equal(answers(fresh["plain"]), answers(kept["full"]))


def test_unpacked_networks_are_deployed_as_they_are(made, tmp_path):
    recipe, networks = made
    packed.pack(coarse(networks), recipe, tmp_path / "weights.xz")
    fresh = build(recipe, stripes())
    packed.unpack(fresh, recipe, tmp_path / "weights.xz")
    again = deployable(fresh["coded"]).state_dict()
    assert all(torch.equal(again[key], value) for key, value in fresh["coded"].state_dict().items())


def test_a_large_layer_lies_on_a_coarser_grid_that_is_part_of_the_deployed_one(made):
    _, networks = made
    parameters = dict(packed.coarsened(networks["full"]).named_parameters())
    large = {key: value for key, value in parameters.items() if value.numel() >= packed.LARGE}
    assert large
    for value in parameters.values():
        on_grid = value.double() * 2.0**12
        assert torch.equal(on_grid, on_grid.round())
    for value in large.values():
        step = value[value != 0].abs().min()
        assert packed.COARSE_SHARE / 2 < step / value.std() <= 1.1 * packed.COARSE_SHARE


def test_a_stage_that_stayed_frozen_is_written_once(made, tmp_path):
    recipe, networks = made
    kept = coarse(networks)
    packed.pack(kept, recipe, tmp_path / "both.xz")
    head = lzma.decompress((tmp_path / "both.xz").read_bytes())[:20_000]
    assert b"full.backbone.segments.stage4" in head
    assert b"coded.backbone.segments.stage4" not in head
    assert b"coded.backbone.segments.stage3" in head


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-20],
        lambda data: b"no xz at all",
        lambda data: lzma.compress(b"x"),
        lambda data: lzma.compress(bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"[]"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(made, tmp_path, spoil):
    recipe, networks = made
    path = tmp_path / "weights.xz"
    packed.pack(coarse(networks), recipe, path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelError, match=r"weights\.xz: not the weights of this recipe") as caught:
        packed.unpack(build(recipe, stripes()), recipe, path)
    assert "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_more_than_any_network_is_refused(made, tmp_path, monkeypatch):
    recipe, networks = made
    packed.pack(coarse(networks), recipe, tmp_path / "weights.xz")
    monkeypatch.setattr(packed, "LARGEST_BYTES", 1000)
    with pytest.raises(ModelError, match="holds more than 1000 bytes"):
        packed.unpack(build(recipe, stripes()), recipe, tmp_path / "weights.xz")


def test_weights_of_another_recipe_are_refused(made, tmp_path):
    recipe, networks = made
    packed.pack(coarse(networks), recipe, tmp_path / "weights.xz")
    other = load_recipe(recipe_file(tmp_path, phases=[{**BACKBONE, "epochs": 3}, ALL]))
    with pytest.raises(ModelError, match="trained with another version of this recipe"):
        packed.unpack(build(other, stripes()), other, tmp_path / "weights.xz")


def test_the_weights_that_ship_are_those_of_their_recipe():
    path = Path(__file__).parents[3] / "experiments" / "train" / "cifar10-resnet18.yaml"
    recipe = load_recipe(path)
    assert recipe.checkpoint is not None
    classes = tuple(map(str, range(10)))
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    samples = Samples(images, np.arange(20) % 10)
    networks = build(recipe, Dataset("CIFAR-10 (JPEG)", "made", classes, samples, samples, samples))
    packed.unpack(networks, recipe, path.parent / recipe.checkpoint)
    trained = {name for name, network in networks.items() if network.has_own_weights}
    assert trained == {"full", "stem-2048x", "stage1-2048x"}
