"""What of a recipe is trained can be measured while the rest of it is not, and stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.errors import ModelError
from testbed.snn import artefact
from testbed.snn.recipe import load_recipe
from testbed.snn.trained import CHECKPOINT, same_backbone, weights_digest
from tests.testbed.snn.made import BACKBONE, CODEC, FEW, Epochs, PowerCutError, recipe_file, stripes, trained


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """One code trained of two, after the backbone."""
    path = recipe_file(tmp_path, phases=[{**BACKBONE, "epochs": 1}, {**CODEC, "epochs": 1}])
    document = yaml.safe_load(path.read_text())
    document["variants"]["later"] = dict(document["variants"]["coded"], bottleneck={"channels": 1, "stride": 2})
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(PowerCutError):
        trained(path, stripes(FEW), tmp_path / "stripes" / "training", Epochs(2))
    return path


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
    document = yaml.safe_load(recipe.read_text())
    document["variants"]["other"] = {"split": "stage2"}
    recipe.write_text(yaml.safe_dump(document))
    assert artefact.trained_variants(recipe, tmp_path) == ["coded", "other", "plain"]
    epochs = Epochs()
    trained(recipe, stripes(FEW), tmp_path / "stripes" / "training", epochs)
    assert epochs == [("later", "codec", 1)]


def test_a_split_that_was_moved_is_exported_anew(recipe, tmp_path):
    before = weights_digest(recipe, load_recipe(recipe), tmp_path, "plain")
    document = yaml.safe_load(recipe.read_text())
    document["variants"]["plain"] = {"split": "stage2"}
    recipe.write_text(yaml.safe_dump(document))
    assert weights_digest(recipe, load_recipe(recipe), tmp_path, "plain") not in (before, None)
