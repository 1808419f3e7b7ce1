"""A variant is exported when it is first asked for, and what it shares with another one is not exported twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from testbed.errors import ExperimentError
from testbed.runtime.artefact import CARD_NAME
from testbed.snn import artefact, export

RECIPE = """\
name: toy
dataset: {name: digits}
backbone: {width: 4}
variants: {plain: {split: stage1}, coded: {split: stage1, bottleneck: {channels: 2, stride: 4}}}
training: {phases: [{train: backbone, epochs: 1, lr: 0.01}]}
checkpoint: weights.safetensors
"""


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Each export in turn: the variant, and the one whose graphs of the backbone it takes."""
    done: list[tuple[str, str | None]] = []

    def write(
        _recipe: Any,
        name: str,
        _v: Any,
        _n: Any,
        _d: Any,
        folder: Path,
        trained: Any,
        like: Path | None,
        *,
        weights: str,
    ) -> None:
        assert folder.name == (name if weights == "float" else f"{name}.{weights}")
        done.append((name, like and like.name))
        folder.mkdir(parents=True)
        (folder / CARD_NAME).write_text(str(trained["weights"]))

    monkeypatch.setattr(export, "write_artefact", write)
    monkeypatch.setattr(artefact, "_exported_from", lambda folder: (folder / CARD_NAME).read_text())
    monkeypatch.setattr(artefact, "read_weights", lambda *_: "weights.safetensors")
    monkeypatch.setattr(artefact, "load", lambda *_: None)
    monkeypatch.setattr("testbed.snn.build.build", lambda *_: {})
    return done


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "weights.safetensors").write_bytes(save({"weights": np.zeros(1)}))
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE)
    return path


def test_a_variant_is_exported_when_it_is_asked_for_and_once(recipe, tmp_path, exports) -> None:
    for _ in range(2):
        assert artefact.ensure(recipe, "coded", tmp_path / "models", None) == tmp_path / "models" / "toy" / "coded"
    assert exports == [("coded", None)]
    artefact.ensure(recipe, "plain", tmp_path / "models", None)
    assert exports[1:] == [("plain", "coded")]


def test_training_exports_every_variant(recipe, tmp_path, exports) -> None:
    artefact.export(recipe, tmp_path / "models", None)
    assert exports == [("plain", None), ("coded", "plain")]


def test_the_forms_of_a_variant_lie_beside_each_other_and_share_no_graph(recipe, tmp_path, exports) -> None:
    artefact.ensure(recipe, "plain", tmp_path / "models", None)
    for _ in range(2):
        folder = artefact.ensure(recipe, "plain", tmp_path / "models", None, "int8")
    assert folder == tmp_path / "models" / "toy" / "plain.int8"
    assert artefact.standing(recipe, "coded", tmp_path / "models", "int8") == (
        tmp_path / "models" / "toy" / "coded.int8",
        "to export",
    )
    artefact.ensure(recipe, "coded", tmp_path / "models", None, "int8")
    assert exports == [("plain", None), ("plain", None), ("coded", "plain.int8")]


def test_a_form_that_a_network_cannot_have_is_one_line(recipe, tmp_path, exports) -> None:
    recipe.write_text(RECIPE.replace("width: 4", "width: 4, tau: 3.0"))
    with pytest.raises(ExperimentError, match=r"toy\.yaml: weights: int8 takes a tau that is a power of two, not 3"):
        artefact.ensure(recipe, "plain", tmp_path / "models", None, "int8")
    assert artefact.ensure(recipe, "plain", tmp_path / "models", None).name == "plain"


def test_graphs_of_other_weights_are_not_taken(recipe, tmp_path, exports) -> None:
    artefact.ensure(recipe, "plain", tmp_path / "models", None)
    (tmp_path / "weights.safetensors").write_bytes(save({"weights": np.ones(1)}))
    artefact.ensure(recipe, "coded", tmp_path / "models", None)
    assert exports == [("plain", None), ("coded", None)]
