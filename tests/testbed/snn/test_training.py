"""Training reaches what it is given, and goes on where it was interrupted."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.snn.recipe import load_recipe
from testbed.snn.checkpoint import load_checkpoint, save_checkpoint
from testbed.snn.training import train

RECIPE = {
    "name": "stripes",
    "dataset": {"name": "digits", "image_size": 8, "channels": 1},
    "backbone": {"width": 4},
    "timesteps": 2,
    "variants": {
        "plain": {"split": "stage1"},
        "coded": {"split": "stage1", "bottleneck": {"channels": 2, "stride": 2}},
    },
    "training": {
        "batch_size": 16,
        "crop_padding": 0,
        "flip": False,
        "phases": [
            {"train": "backbone", "epochs": 4, "lr": 0.01},
            {"train": "codec", "epochs": 2, "lr": 0.01},
            {"train": "all", "epochs": 1, "lr": 0.003},
        ],
    },
}


class PowerCut(Exception):
    pass


def recipe(folder: Path):
    path = folder / "stripes.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return load_recipe(path)


@pytest.fixture
def stripes() -> Dataset:
    """Two classes that one glance tells apart: stripes lie or stand."""
    rng = np.random.default_rng(0)

    def samples(count: int) -> Samples:
        labels = rng.integers(0, 2, count)
        base = np.where(np.arange(8) % 2, 220, 30)
        pictures = np.where(labels[:, None, None] == 0, base[None, None, :], base[None, :, None])
        noisy = np.clip(pictures + rng.normal(0, 15, (count, 8, 8)), 0, 255).astype(np.uint8)
        return Samples(noisy[:, None], labels.astype(np.int64))

    return Dataset("stripes", "made", ("lying", "standing"), samples(320), samples(64), samples(64))


def run(folder: Path, dataset: Dataset, stop_after: int | None = None):
    epochs = []

    def report(now) -> None:
        if now.step == now.steps:
            epochs.append((now.network, now.phase, now.epoch))
        if stop_after is not None and len(epochs) > stop_after:
            raise PowerCut

    return train(recipe(folder), dataset, folder / "training", report), epochs


def test_training_learns_stripes_and_logs_every_epoch(stripes, tmp_path):
    _, epochs = run(tmp_path, stripes)
    assert epochs == [
        *(("full", "backbone", epoch) for epoch in (1, 2, 3, 4)),
        *(("coded", "codec", epoch) for epoch in (1, 2)),
        ("coded", "all", 1),
    ]
    rows = (tmp_path / "training" / "training.csv").read_text().splitlines()
    assert len(rows) == 1 + len(epochs)
    assert float(rows[4].split(",")[8]) > 0.9  # validation accuracy after the backbone's last epoch


def test_an_interrupted_training_goes_on_and_ends_with_the_same_weights(stripes, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, _ = run(tmp_path / "a", stripes)
    for stop in (2, 3):  # once within a phase, once between phases
        with pytest.raises(PowerCut):
            run(tmp_path / "b", stripes, stop_after=stop)
    resumed, epochs = run(tmp_path / "b", stripes)
    assert ("full", "backbone", 1) not in epochs
    for name in whole:
        for key, value in whole[name].state_dict().items():
            torch.testing.assert_close(resumed[name].state_dict()[key], value, msg=f"{name} {key}")


def test_the_frozen_backbone_of_the_codec_phase_does_not_move(stripes, tmp_path):
    plain = {**RECIPE, "training": {**RECIPE["training"], "phases": RECIPE["training"]["phases"][:2]}}
    path = tmp_path / "frozen.yaml"
    path.write_text(yaml.safe_dump(plain))
    networks = train(load_recipe(path), stripes, tmp_path / "t", lambda now: None)
    full = networks["full"].backbone.state_dict()
    for key, value in networks["coded"].backbone.state_dict().items():
        assert torch.equal(value, full[key]), key


def test_a_checkpoint_of_another_recipe_is_refused(stripes, tmp_path):
    networks, _ = run(tmp_path, stripes)
    loaded = recipe(tmp_path)
    save_checkpoint(networks, loaded, tmp_path / "weights.safetensors")
    load_checkpoint(networks, loaded, tmp_path / "weights.safetensors")
    other = loaded.model_copy(update={"timesteps": 3})
    with pytest.raises(ModelError, match="another version of this recipe"):
        load_checkpoint(networks, other, tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not the weights"):
        load_checkpoint(networks, loaded, tmp_path / "weights.safetensors")
