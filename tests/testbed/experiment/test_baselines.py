"""What an ANN's cells are compared with: the spiking network of the same backbone, if there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.experiment import ModelRef, baselines, load_experiment
from testbed.snn.recipe import Recipe, load_recipe

RECIPE = {
    "dataset": {"name": "digits", "image_size": 32, "channels": 1},
    "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.1}]},
}
SPIKING = {"timesteps": 2, "variants": {"plain": {"split": "stem"}}}
EXPERIMENT = """\
name: small
models:
  ann: {recipe: relu.yaml, weights: int8}
  eight: {recipe: lif.yaml, variant: plain, weights: int8}
  plain: {recipe: lif.yaml, variant: plain}
nodes: {edge: edge.yaml, cloud: cloud.yaml}
"""


@pytest.fixture
def recipes(tmp_path: Path) -> dict[Path, Recipe]:
    found = {}
    for name, backbone, rest in (
        ("lif", {"width": 4}, SPIKING),
        ("vgg", {"name": "vgg16", "width": 4}, SPIKING),
        ("relu", {"width": 4, "neuron": "relu"}, {"timesteps": 1}),
    ):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(RECIPE | {"name": name, "backbone": backbone} | rest))
        found[path] = load_recipe(path)
    return found


@pytest.fixture
def models(tmp_path: Path) -> dict[str, ModelRef]:
    return {
        "ann": ModelRef(recipe=tmp_path / "relu.yaml", weights="int8"),
        "vgg": ModelRef(recipe=tmp_path / "vgg.yaml", variant="plain"),
        "plain": ModelRef(recipe=tmp_path / "lif.yaml", variant="plain"),
        "eight": ModelRef(recipe=tmp_path / "lif.yaml", variant="plain", weights="int8"),
    }


@pytest.mark.parametrize(
    ("there", "with_"),
    [
        (("ann", "vgg", "plain"), "plain"),
        (("ann", "vgg", "plain", "eight"), "eight"),  # the same form of weights
        (("ann", "vgg"), "ann"),  # no other backbone
    ],
)
def test_an_ann_is_compared_with_the_spiking_network_of_its_backbone(models, recipes, there, with_):
    found = baselines.compared({name: models[name] for name in there}, recipes)
    assert found.pop("ann") == with_
    assert all(name == other for name, other in found.items())


def added(tmp_path: Path, recipes: dict[Path, Recipe], cells: str) -> tuple[list[bool], list[str]]:
    """Which cells are baselines, and the models of those that are added."""
    path = tmp_path / "small.yaml"
    path.write_text(EXPERIMENT + f"cells: [{cells}]\n")
    experiment = load_experiment(path)
    by = baselines.compared(experiment.models, recipes)
    missing = baselines.missing(experiment, by)
    return [baselines.is_baseline(cell, by) for cell in experiment.cells], [cell.model for cell in missing]


def test_an_ann_on_the_edge_is_no_baseline_beside_a_spiking_network_and_needs_none_of_its_own(tmp_path, recipes):
    ann, spiking = "{mode: edge_only, model: ann}", "{mode: edge_only, model: plain}"
    assert added(tmp_path, recipes, f"{ann}, {spiking}") == ([False, True], [])
    assert added(tmp_path, recipes, ann) == ([True], [])
    far = "{mode: cloud_only, model: plain}, {mode: cloud_only, model: ann}"
    assert added(tmp_path, recipes, far) == ([False, False], ["plain"])
    assert added(tmp_path, recipes, f"{far}, {ann}") == ([False, False, False], ["plain"])
