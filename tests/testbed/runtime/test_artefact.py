from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from testbed.errors import ModelError
from testbed.runtime.artefact import MODEL_SCHEMA, ModelCard, load_card, verify, write_card
from testbed.runtime.digest import document_digest

CARD = ModelCard(
    name="toy",
    backbone="resnet18",
    width=8,
    dataset="digits",
    dataset_variant="8x8",
    timesteps=4,
    classes=["zero", "one"],
    input_shape=[1, 8, 8],
    static_input=True,
    split="layer2",
    feature_shape=[16, 4, 4],
    code_shape=[2, 2, 2],
    bottleneck=True,
    compression=1024.0,
    accuracy_per_timestep={"full": [0.5, 0.75, 0.8, 0.9], "split": [0.4, 0.7, 0.8, 0.85]},
    trained={"epochs": 3, "lr": 1e-05, "note": "späť 2025-01-01", "seed": None, "steps": [1, 2]},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    for name in ("edge.onnx", "cloud.onnx", "weights.safetensors"):
        (folder / name).write_bytes(name.encode() * 10)
    write_card(folder, CARD)
    return folder


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8")) | changes
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def test_a_card_is_read_as_it_was_written(folder: Path):
    card = verify(folder)
    assert card == write_card(folder, CARD) == load_card(folder)
    assert msgspec.structs.replace(card, files={}, hash="") == CARD
    assert sorted(card.files) == ["cloud.onnx", "edge.onnx", "weights.safetensors"]


def test_each_damaged_file_is_named(folder: Path):
    for path in folder.glob("*.*"):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ModelError, match=path.name):
            verify(folder)
        path.write_bytes(whole)
    verify(folder)


def test_each_missing_file_is_named(folder: Path):
    for path in folder.glob("*.*"):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(ModelError, match=rf"{path.name}.* missing|{path.name} is missing"):
            verify(folder)
        path.write_bytes(whole)
    verify(folder)


def test_another_artefact_than_expected_is_refused(folder: Path):
    assert verify(folder, verify(folder).hash).name == "toy"
    with pytest.raises(ModelError, match="instead of 0123"):
        verify(folder, "0123")


def test_an_edited_card_is_refused(folder: Path):
    edit(folder, accuracy_per_timestep={"full": [1.0] * 4})
    with pytest.raises(ModelError, match="edited after the export"):
        load_card(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": MODEL_SCHEMA + 1}, f"schema {MODEL_SCHEMA + 1} instead of {MODEL_SCHEMA}"),
        ({"typo": 1}, "typo"),
        ({"width": 0}, "width"),
        ({"width": "8"}, "width"),
        ({"input_shape": [8, 8]}, "input_shape"),
        ({"classes": ["one"]}, "classes"),
        ({"accuracy_per_timestep": {"full": [80.0]}}, "accuracy_per_timestep"),
        ({"timesteps": 256}, "timesteps"),
        ({"files": {"../secret": "00"}}, "files"),
        ({"files": {"/etc/passwd": "00"}}, "files"),
        ({"files": {"a\n": "00"}}, "files"),
    ],
)
def test_a_card_that_says_what_it_cannot_is_refused(folder: Path, changes: dict[str, Any], reason: str):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=reason):
        load_card(folder)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\t", "!!python/object/apply:os.getcwd []", "schema: {1: 2}"])
def test_a_file_that_is_no_card_is_refused(folder: Path, text: str):
    (folder / "model.yaml").write_text(text)
    with pytest.raises(ModelError, match=r"model\.yaml"):
        load_card(folder)


def test_a_folder_without_files_is_not_described(tmp_path: Path):
    with pytest.raises(ModelError, match="nothing was exported"):
        write_card(tmp_path, CARD)
    with pytest.raises(ModelError, match="no model artefact here"):
        load_card(tmp_path)


def test_an_incomplete_card_is_not_written(folder: Path):
    before = (folder / "model.yaml").read_bytes()
    with pytest.raises(ModelError, match="timesteps"):
        write_card(folder, msgspec.structs.replace(CARD, timesteps=0))
    assert (folder / "model.yaml").read_bytes() == before


def test_the_hash_follows_the_content_and_nothing_else(folder: Path, tmp_path: Path):
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / ".DS_Store").write_bytes(b"leavings")
    assert write_card(copy, CARD).hash == verify(folder).hash
    (copy / "edge.onnx").write_bytes(b"other")
    assert write_card(copy, CARD).hash != verify(folder).hash


def test_a_renamed_file_changes_the_hash(folder: Path):
    before = verify(folder).hash
    (folder / "edge.onnx").rename(folder / "edge2.onnx")
    assert write_card(folder, CARD).hash != before


def test_the_order_of_keys_does_not_change_a_document_digest():
    assert document_digest({"a": 1, "b": {"c": 2, "d": 3}}) == document_digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert document_digest({"a": 1}) != document_digest({"a": 2})


def test_spike_rates_come_back_and_must_be_one_for_each_timestep_and_channel(folder: Path):
    rates = [[0.125, 0.0], [0.25, 1.0], [0.5, 0.015625], [0.1, 0.2]]
    assert write_card(folder, msgspec.structs.replace(CARD, code_rates=rates)).code_rates == rates
    edit(folder, code_rates=rates[:3])
    with pytest.raises(ModelError, match=r"rows of \[2, 2, 2\], not 4 timesteps of 2 channels"):
        load_card(folder)
    edit(folder, code_rates=[[0.5], *rates[1:]])
    with pytest.raises(ModelError, match=r"rows of \[1, 2, 2, 2\]"):
        load_card(folder)
    edit(folder, code_rates=[[0.5, 1.01], *rates[1:]])
    with pytest.raises(ModelError, match="code_rates"):
        load_card(folder)
    edit(folder, code_rates=rates, code_shape=None)
    with pytest.raises(ModelError, match="of 0 channels"):
        load_card(folder)
