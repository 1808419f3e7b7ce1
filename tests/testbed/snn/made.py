"""Small data sets and recipes for the tests of training, and trainings that are looked into."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from testbed.data.datasets import Dataset, Samples
from testbed.snn.network import Network
from testbed.snn.processes import Hardware, together
from testbed.snn.recipe import load_recipe
from testbed.snn.training import train

PHASES = [
    {"train": "backbone", "epochs": 4, "lr": 0.01},
    {"train": "codec", "epochs": 2, "lr": 0.01},
    {"train": "all", "epochs": 1, "lr": 0.003},
]
BACKBONE = {"train": "backbone", "epochs": 2, "lr": 0.01}
CODEC = {"train": "codec", "epochs": 2, "lr": 0.01}
FEW = 64
"""Samples where a few steps show it: that weights move, or stay."""
VARIANTS = {
    "plain": {"split": "stage1"},
    "coded": {"split": "stage1", "bottleneck": {"channels": 2, "stride": 2}},
}


def recipe_file(
    folder: Path,
    *,
    phases: list[dict[str, Any]] = PHASES,
    dataset: dict[str, Any] | None = None,
    variants: Sequence[str] = ("plain", "coded"),
    **training: Any,
) -> Path:
    """Write a recipe for a network of width 4 that takes a second to train."""
    path = folder / "stripes.yaml"
    document = {
        "name": "stripes",
        "dataset": dataset or {"name": "digits", "image_size": 8, "channels": 1},
        "backbone": {"width": 4},
        "timesteps": 2,
        "variants": {name: VARIANTS[name] for name in variants},
        "training": {"batch_size": 16, "crop_padding": 0, "flip": False, "phases": phases, **training},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def stripes(count: int = 320, *, frames: int | None = None, side: int = 8) -> Dataset:
    """Two classes that one glance tells apart: stripes lie or stand. With `frames` [N, T, 2, H, W], else stills."""
    rng = np.random.default_rng(0)

    def samples(count: int) -> Samples:
        labels = rng.integers(0, 2, count)
        base = np.where(np.arange(side) % 2, 220, 30)
        pictures = np.where(labels[:, None, None] == 0, base[None, None, :], base[None, :, None])
        noisy = np.clip(pictures + rng.normal(0, 15, (count, side, side)), 0, 255).astype(np.uint8)[:, None]
        if frames is not None:
            noisy = np.stack([np.concatenate([noisy, 255 - noisy], axis=1)] * frames, axis=1)
        return Samples(noisy, labels.astype(np.int64))

    return Dataset("stripes", "made", ("lying", "standing"), samples(count), samples(64), samples(64))


def trained(
    recipe: Path,
    dataset: Dataset,
    folder: Path,
    report: Callable[[Any], None] = lambda now: None,
    *,
    anew: bool = False,
) -> dict[str, Network]:
    """Train in this process."""
    with together(Hardware("cpu", 1)) as group:
        return train(load_recipe(recipe), dataset, folder, report, group, anew=anew)


class PowerCutError(Exception):
    pass


class Epochs(list[tuple[str, str, int]]):
    """Hears of progress and notes each epoch that ends; the power fails after `until` of them."""

    def __init__(self, until: int | None = None) -> None:
        super().__init__()
        self._until = until

    def __call__(self, now: Any) -> None:
        if now.step == now.steps:
            self.append((now.network, now.phase, now.epoch))
        if self._until is not None and len(self) > self._until:
            raise PowerCutError


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(left: Network, right: Network, **tolerances: float) -> None:
    for key, value in left.state_dict().items():
        torch.testing.assert_close(right.state_dict()[key], value, msg=key, **tolerances)


@dataclass(frozen=True)
class Trained:
    """What a training gave, where it was logged, and the epochs that it reported."""

    networks: dict[str, Network]
    folder: Path
    epochs: Epochs


def trained_in(folder: Path, *phases: dict[str, Any]) -> Trained:
    epochs = Epochs()
    networks = trained(recipe_file(folder, phases=list(phases)), stripes(), folder / "training", epochs)
    return Trained(networks, folder / "training", epochs)
