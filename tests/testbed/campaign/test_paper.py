"""The paper's experiments can be read, whole and small, and the small ones need no data and no training."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.campaign.asked import Asked, read
from testbed.data.datasets import NEEDS_NO_FILES
from testbed.snn.trained import weights_of

FILES = sorted((Path(__file__).parents[3] / "experiments" / "paper").glob("*.yaml"))
DATASETS = {"cifar10", "caltech101", "cifar10_dvs", "n_caltech101"}


@pytest.fixture(scope="module")
def whole() -> dict[str, Asked]:
    return {path.stem: read(path, Path("results")) for path in FILES}


@pytest.fixture(scope="module")
def small() -> dict[str, Asked]:
    return {path.stem: read(path, Path("results"), overrides=("profile=small",)) for path in FILES}


def test_every_figure_is_there_for_every_data_set_with_both_backbones(whole) -> None:
    for figure in ("headline", "compression", "splits", "exits"):
        of_figure = [asked for name, asked in whole.items() if name.startswith(f"{figure}-")]
        recipes = [recipe for asked in of_figure for recipe in asked.recipes.values()]
        assert {recipe.dataset.name for recipe in recipes} == DATASETS
        for asked in of_figure:
            assert {recipe.backbone.name for recipe in asked.recipes.values()} == {"resnet18", "vgg16"}
    assert len({asked.experiment.name for asked in whole.values()}) == len(FILES)


def test_each_backbone_has_the_baseline_that_it_is_compared_with(whole, small) -> None:
    for asked in (*whole.values(), *small.values()):
        assert asked.added == 0
        assert len({asked.experiment.models[spec.model].recipe for spec in asked.specs if spec.baseline}) == 2


def test_no_two_cells_share_a_label_and_a_small_one_says_that_it_is(whole, small) -> None:
    for name, asked in small.items():
        assert len(set(whole[name].labels)) == len(whole[name].labels)
        assert len(set(asked.labels)) == len(asked.labels)
        assert all(label.endswith(" [small]") for label in asked.labels)
        assert asked.experiment.name == f"paper-{name}-small"
        assert "digits" in (asked.experiment.title or "")


def test_a_small_one_needs_no_data_and_no_training_and_is_small(whole, small) -> None:
    for name, asked in small.items():
        for path, recipe in asked.recipes.items():
            assert recipe.dataset.name in NEEDS_NO_FILES
            assert weights_of(path, recipe, Path("none")).exists()
        repeats = len(asked.specs) * asked.experiment.repeats
        assert repeats <= 28 < len(whole[name].specs) * whole[name].experiment.repeats
