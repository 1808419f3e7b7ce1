"""The share of the arithmetic that an edge has is counted from the layers that it runs."""

from pathlib import Path

import pytest
import torch
import yaml

from testbed.snn.backbones import resnet18
from testbed.snn.neurons import Neuron
from testbed.snn.recipe import describe, load_recipe
from testbed.snn.share import multiplications, shares


def recipe(folder: Path, variants: dict[str, object], backbone: str = "resnet18") -> Path:
    path = folder / "share.yaml"
    document = {
        "name": "share",
        "dataset": {"name": "digits", "image_size": 32, "channels": 1},
        "backbone": {"name": backbone, "width": 8},
        "variants": variants,
        "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.01}]},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_resnet18_has_as_many_multiplications_as_are_published():
    """0.56 billion for a 32x32 image with a 3x3 stem (He et al. 2016 have 1.8 billion at 224x224 with a 7x7 one)."""
    with torch.device("meta"):
        net = resnet18(64, 3, 10, Neuron(), "membrane").eval()
        count = multiplications(net, lambda x: net(net.stem(x)), torch.zeros(1, 1, 3, 32, 32))
    assert count == pytest.approx(0.5554e9, rel=1e-3)


def test_shares_grow_along_the_network_and_a_block_of_stage_1_is_half_of_it(tmp_path):
    for name in ("resnet18", "vgg16"):
        found = list(shares(load_recipe(recipe(tmp_path, {"plain": {"split": "stem"}}, name))).splits.values())
        assert found == sorted(found)
        assert found[-1] == pytest.approx(1.0, abs=1e-3)  # all but the classifier
    found = shares(load_recipe(recipe(tmp_path, {"plain": {"split": "stem"}}))).splits
    assert found["stage1"] - found["stage1.1"] == pytest.approx(found["stage1.1"] - found["stem"])


def test_a_variant_has_its_encoder_besides_and_the_listing_says_so(tmp_path):
    pixels = {"encoder": "pixels", "channels": 2, "stride": 4, "layers": 3, "hidden": 6}
    variants: dict[str, object] = {
        "plain": {"split": "stage1"},
        "coded": {"split": "stage1.1", "bottleneck": {"compression": 512}},
        "pixels": {"split": "stage1", "bottleneck": pixels},
        "one": {"split": "stage4", "bottleneck": {"channels": 1, "stride": 4}},  # a single element
    }
    loaded = load_recipe(recipe(tmp_path, variants))
    found = shares(loaded)
    assert found.variants["plain"] == found.splits["stage1"]
    channels, stride = loaded.variants["coded"].bottleneck.resolve((8, 32, 32))
    encoder = (2 * stride + 1) ** 2 * 8 * channels * (32 // stride) ** 2
    stem = 9 * 8 * 32 * 32
    path = 9 * (6 * 16 * 16 + 6 * 6 * 8 * 8 + 6 * 2 * 8 * 8)  # 3x3 kernels: stem, a layer, and the code's
    assert found.variants["pixels"] == pytest.approx(path * found.splits["stem"] / stem)
    added = found.variants["coded"] - found.splits["stage1.1"]
    assert added == pytest.approx(encoder * found.splits["stem"] / stem)
    assert [line.rsplit(", ", 1)[1] for line in describe(loaded, found.variants)] == [
        f"{100 * share:.2g}% of the arithmetic on the edge" for share in found.variants.values()
    ]
