from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from testbed.errors import DataError
from testbed.runtime import bundle
from testbed.runtime.bundle import load_bundle, write_bundle
from testbed.runtime.digest import file_digest

INPUTS = np.arange(6 * 1 * 4 * 4, dtype=np.uint8).reshape(6, 1, 4, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int64)
WHAT: dict[str, Any] = {
    "dataset": "digits",
    "variant": "4x4",
    "split": "test",
    "seed": 3,
    "classes": ["a", "b", "c"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", INPUTS, LABELS, **WHAT)
    return tmp_path / "bundle"


def smuggle(folder: Path, name: str, content: bytes | np.ndarray) -> None:
    """Replace a file and make the card fit it, as only a determined person would."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    card = folder / "bundle.yaml"
    document = yaml.safe_load(card.read_text())
    document[name.removesuffix(".npy") + "_sha256"] = file_digest(path)
    document["hash"] = bundle._card_hash(bundle.msgspec.convert(document, bundle.BundleCard))  # noqa: SLF001
    card.write_text(yaml.safe_dump(document))


def test_a_bundle_is_read_as_it_was_written(folder: Path):
    loaded = load_bundle(folder)
    assert np.array_equal(loaded.inputs, INPUTS)
    assert np.array_equal(loaded.labels, LABELS)
    assert len(loaded) == 6
    assert (loaded.card.dataset, loaded.card.seed, loaded.card.classes) == ("digits", 3, ["a", "b", "c"])
    assert load_bundle(folder, loaded.card.hash).card == loaded.card


def test_inputs_are_mapped_and_cannot_be_written(folder: Path):
    inputs = load_bundle(folder).inputs
    assert isinstance(inputs, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        inputs[0] = 0


def test_event_frames_have_a_time_axis(tmp_path: Path):
    frames = np.zeros((2, 5, 2, 4, 4), np.uint8)
    write_bundle(tmp_path, frames, LABELS[:2], **WHAT)
    assert load_bundle(tmp_path).inputs.shape == (2, 5, 2, 4, 4)


def test_the_same_content_has_the_same_hash(folder: Path, tmp_path: Path):
    again = write_bundle(tmp_path / "again", INPUTS[:, :, ::-1][:, :, ::-1], LABELS, **WHAT)
    assert again == load_bundle(folder).card
    assert write_bundle(tmp_path / "seed", INPUTS, LABELS, **(WHAT | {"seed": 4})).hash != again.hash


def test_another_bundle_than_expected_is_refused(folder: Path):
    with pytest.raises(DataError, match=r"instead of 0123.*deploy the bundle again"):
        load_bundle(folder, "0123")


@pytest.mark.parametrize("name", ["inputs.npy", "labels.npy", "bundle.yaml"])
def test_a_damaged_or_missing_file_is_named(folder: Path, name: str):
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    with pytest.raises(DataError, match=name):
        load_bundle(folder)
    path.unlink()
    with pytest.raises(DataError, match=name):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("inputs.npy", np.array([{"a": 1}], dtype=object)),
        ("inputs.npy", INPUTS.astype(np.float32)),
        ("inputs.npy", INPUTS[0]),
        ("inputs.npy", INPUTS[:5]),
        ("inputs.npy", b""),
        ("inputs.npy", b"\x93NUMPY\x01\x00"),
        ("inputs.npy", b"\x93NUMPY\x01\x00\x0a\x00{('descr':\n"),
        ("inputs.npy", b"PK\x03\x04 not really a zip"),
        ("labels.npy", LABELS.astype(np.int32)),
        ("labels.npy", LABELS[:, None]),
        ("labels.npy", LABELS + 1),
        ("labels.npy", LABELS - 1),
    ],
)
def test_arrays_that_are_no_bundle_are_refused(folder: Path, name: str, content: bytes | np.ndarray):
    smuggle(folder, name, content)
    with pytest.raises(DataError, match=r"inputs|labels"):
        load_bundle(folder)


def test_an_archive_in_place_of_an_array_is_refused(folder: Path, tmp_path: Path):
    np.savez(tmp_path / "archive.npz", INPUTS)
    smuggle(folder, "inputs.npy", (tmp_path / "archive.npz").read_bytes())
    with pytest.raises(DataError, match=r"inputs\.npy: cannot be read"):
        load_bundle(folder)


def test_an_announced_size_beyond_the_file_is_refused_without_allocating(folder: Path):
    whole = (folder / "inputs.npy").read_bytes()
    huge = whole.replace(b"(6, 1, 4, 4), }" + b" " * 12, b"(6, 1, 4444444444444, 4), }")
    assert len(huge) == len(whole)
    assert huge != whole
    smuggle(folder, "inputs.npy", huge)
    with pytest.raises(DataError, match=r"inputs\.npy"):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "schema: 2", "schema: 1", "!!python/name:os.system"])
def test_a_file_that_is_no_card_is_refused(folder: Path, text: str):
    (folder / "bundle.yaml").write_text(text)
    with pytest.raises(DataError, match=r"bundle\.yaml"):
        load_bundle(folder)


def test_an_edited_card_is_refused(folder: Path):
    path = folder / "bundle.yaml"
    path.write_text(path.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(DataError, match="edited after it was made"):
        load_bundle(folder)


def test_wrong_arrays_are_not_written(tmp_path: Path):
    for inputs, labels in ((INPUTS, LABELS[:3]), (INPUTS / 255, LABELS), (INPUTS[:0], LABELS[:0])):
        with pytest.raises(DataError):
            write_bundle(tmp_path / "bundle", inputs, labels, **WHAT)
    assert not (tmp_path / "bundle").exists()
