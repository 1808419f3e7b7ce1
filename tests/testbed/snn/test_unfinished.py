"""What of a recipe is trained can be measured while the rest of it is not, and stays what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from testbed.errors import ModelError
from testbed.snn import artefact
from testbed.snn.build import build
from testbed.snn.checkpoint import load_checkpoint
from testbed.snn.recipe import lineage, load_recipe
from testbed.snn.trained import CHECKPOINT, same_backbone, weights_digest
from tests.testbed.snn.made import (
    BACKBONE,
    CODEC,
    FEW,
    Epochs,
    PowerCutError,
    assert_same_weights,
    log,
    recipe_file,
    stripes,
    trained,
)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe of two codes, of which one is trained."""
    folder = tmp_path_factory.mktemp("unfinished")
    path = recipe_file(folder, phases=[{**BACKBONE, "epochs": 1}, {**CODEC, "epochs": 1}])
    change(path, later={"split": "stage1", "bottleneck": {"channels": 1, "stride": 2}})
    with pytest.raises(PowerCutError):
        trained(path, stripes(FEW), folder / "stripes" / "training", Epochs(2))
    return folder


@pytest.fixture
def recipe(begun: Path, tmp_path: Path) -> Path:
    """The recipe of a copy of that folder."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return tmp_path / "stripes.yaml"


def change(recipe: Path, **variants: dict[str, object]) -> None:
    """Change variants of the recipe, or add some; they stand in the order of their names."""
    document = yaml.safe_load(recipe.read_text())
    document["variants"] |= variants
    recipe.write_text(yaml.safe_dump(document))


def test_each_variant_is_measured_as_soon_as_it_is_trained(recipe, tmp_path):
    assert artefact.trained_variants(recipe, tmp_path) == ["coded", "plain"]
    found = {name: artefact.standing(recipe, name, tmp_path)[1] for name in ("plain", "coded", "later")}
    assert found == {"plain": "to export", "coded": "to export", "later": "to train"}
    with pytest.raises(ModelError, match=r"later: not trained yet; make it with: testbed train .*stripes\.yaml"):
        artefact.ensure(recipe, "later", tmp_path, None)


def test_what_is_trained_later_changes_nothing_that_was_measured(recipe, tmp_path):
    def digests() -> dict[str | None, str | None]:
        read = load_recipe(recipe)
        return {name: weights_digest(recipe, read, tmp_path, name) for name in (None, "plain", "coded", "later")}

    before = digests()
    trained(recipe, stripes(FEW), tmp_path / "stripes" / "training")
    after = digests()
    assert before == {**after, "later": None}
    assert len(set(after.values())) == 4
    assert all(same_backbone(after["plain"], digest) for digest in after.values())


def test_a_finished_training_whose_file_is_gone_writes_it_again(recipe, tmp_path):
    folder = tmp_path / "stripes" / "training"
    trained(recipe, stripes(FEW), folder)
    (folder / CHECKPOINT).unlink()
    trained(recipe, stripes(FEW), folder)
    assert artefact.trained_variants(recipe, tmp_path) == ["coded", "later", "plain"]


def test_a_damaged_file_is_one_line(recipe, tmp_path):
    path = tmp_path / "stripes" / "training" / CHECKPOINT
    path.write_bytes(b"garbage")
    with pytest.raises(ModelError, match=f"{CHECKPOINT}: not the weights of this recipe"):
        artefact.standing(recipe, "plain", tmp_path)


def test_a_split_of_plain_spikes_is_added_to_trained_weights(recipe, tmp_path):
    change(recipe, other={"split": "stage2"})
    assert artefact.trained_variants(recipe, tmp_path) == ["coded", "other", "plain"]
    epochs = Epochs()
    trained(recipe, stripes(FEW), tmp_path / "stripes" / "training", epochs)
    assert epochs == [("later", "codec", 1)]


def test_a_split_that_was_moved_is_exported_anew(recipe, tmp_path):
    before = weights_digest(recipe, load_recipe(recipe), tmp_path, "plain")
    change(recipe, plain={"split": "stage2"})
    assert weights_digest(recipe, load_recipe(recipe), tmp_path, "plain") not in (before, None)


def test_a_variant_that_is_appended_or_changed_leaves_those_before_as_they_are(recipe, tmp_path):
    folder = tmp_path / "stripes" / "training"
    trained(recipe, stripes(FEW), folder)
    before = {name: weights_digest(recipe, load_recipe(recipe), tmp_path, name) for name in ("coded", "plain")}
    change(recipe, later={"split": "stage2", "bottleneck": {"channels": 2, "stride": 2}}, new={"split": "stem"})
    found = {name: artefact.standing(recipe, name, tmp_path)[1] for name in ("coded", "later", "plain")}
    assert found == {"coded": "to export", "later": "to train", "plain": "to export"}
    there = build(load_recipe(recipe), stripes(FEW))
    load_checkpoint(there, load_recipe(recipe), folder / CHECKPOINT)
    assert list(there) == ["full", "coded", "new", "plain"]
    epochs = Epochs()
    networks = trained(recipe, stripes(FEW), folder, epochs)
    assert epochs == [("later", "codec", 1)]
    assert [row["network"] for row in log(folder)] == ["full", "coded", "later"]
    assert {name: weights_digest(recipe, load_recipe(recipe), tmp_path, name) for name in before} == before
    assert [row["network"] for row in log(tmp_path / "stripes" / "training.1")] == ["full", "coded", "later"]
    alone = trained(recipe, stripes(FEW), tmp_path / "alone")
    for name, network in alone.items():
        assert_same_weights(network, networks[name])


def test_what_comes_behind_a_changed_variant_is_trained_again(recipe, tmp_path):
    """It draws from the same random numbers."""
    change(recipe, coded={"split": "stage2", "bottleneck": {"channels": 1, "stride": 2}})
    assert artefact.trained_variants(recipe, tmp_path) == ["plain"]
    epochs = Epochs()
    trained(recipe, stripes(FEW), tmp_path / "stripes" / "training", epochs)
    assert epochs == [("coded", "codec", 1), ("later", "codec", 1)]


def test_a_change_of_the_backbone_keeps_nothing(recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace("lr: 0.01\n    train: backbone", "lr: 0.02\n    train: backbone"))
    with pytest.raises(ModelError, match="another version of this recipe; move it away, or train with --retrain"):
        trained(recipe, stripes(FEW), tmp_path / "stripes" / "training")


def test_the_weights_of_a_network_depend_on_what_stands_before_it_alone(recipe):
    before = lineage(load_recipe(recipe))
    assert list(before) == ["full", "coded", "later"]
    change(recipe, zero={"split": "stage1", "bottleneck": {"channels": 1, "stride": 4}}, another={"split": "stem"})
    after = lineage(load_recipe(recipe))
    assert {name: after[name] for name in before} == before
    change(recipe, first={"split": "stage1", "bottleneck": {"channels": 1, "stride": 4}})
    changed = lineage(load_recipe(recipe))
    assert (changed["full"], changed["coded"]) == (before["full"], before["coded"])
    assert changed["later"] != before["later"]


def test_a_variant_that_is_taken_out_of_the_recipe_leaves_the_others_as_they_are(recipe, tmp_path):
    folder = tmp_path / "stripes" / "training"
    trained(recipe, stripes(FEW), folder)
    document = yaml.safe_load(recipe.read_text())
    del document["variants"]["later"]
    recipe.write_text(yaml.safe_dump(document))
    epochs = Epochs()
    trained(recipe, stripes(FEW), folder, epochs)
    assert epochs == []
    assert [row["network"] for row in log(folder)] == ["full", "coded"]
    assert artefact.trained_variants(recipe, tmp_path) == ["coded", "plain"]


def test_a_folder_that_lost_a_network_is_one_line(recipe, tmp_path):
    folder = tmp_path / "stripes" / "training"
    (folder / "full.safetensors").unlink()
    change(recipe, coded={"split": "stage2", "bottleneck": {"channels": 1, "stride": 2}})
    with pytest.raises(ModelError, match=r"full\.safetensors: is missing; move .*training away, or train"):
        trained(recipe, stripes(FEW), folder)
    assert (folder / "coded.safetensors").exists(), "nothing was moved"
