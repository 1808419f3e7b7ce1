"""Layouts: which folders are parts of a split, which are classes, and that what is left out is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.data import layout
from testbed.data.datasets import DatasetSpec, load
from testbed.data.files import IMAGE_SUFFIXES, list_files
from testbed.errors import DataError


def made(root: Path, *folders: str, count: int = 5) -> Path:
    """Images of one grey each, all different."""
    grey = 0
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), grey).save(root / folder / f"{number}.png")
            grey += 1
    return root


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "image_folder", "image_size": 8, "channels": 1, "validation": 0.2, **more})


def split_of(*parts: str) -> list[str]:
    return [f"{part}/{label}" for part in parts for label in ("cat", "dog")]


@pytest.mark.parametrize(
    ("train", "test"), [("training", "testing"), ("Train", "Test"), ("TRAINING", "test"), ("train", "Testing")]
)
def test_a_split_by_other_names_is_the_published_one(tmp_path, train, test):
    data = load(spec(), made(tmp_path / "set", *split_of(train, test)))
    assert data.classes == ("cat", "dog")
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == list(range(10, 20))
    assert "published train/test split" in data.variant


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_a_published_validation_set_is_the_validation_set(tmp_path, val):
    data = load(spec(), made(tmp_path / "set", *split_of("train", val, "test")))
    assert sorted(data.train.images[:, 0, 0, 0].tolist()) == list(range(10))
    assert sorted(data.validation.images[:, 0, 0, 0].tolist()) == list(range(10, 20))
    assert sorted(data.test.images[:, 0, 0, 0].tolist()) == list(range(20, 30))
    assert "published train/val/test split; published validation set" in data.variant
    assert "validation 20% of train" not in data.variant
    few = load(spec(max_per_class=4), tmp_path / "set")
    assert (len(few.train), len(few.validation), len(few.test)) == (8, 8, 8)


def test_a_folder_that_is_only_called_validation_still_holds_classes(tmp_path):
    data = load(spec(), made(tmp_path / "set", *split_of("validation")))
    assert data.classes == ("cat", "dog")
    assert "random 80/20" in data.variant


def test_another_reading_is_prepared_under_another_hash(tmp_path, monkeypatch):
    root = made(tmp_path / "set", *split_of("train", "test", "val"))
    digest = list_files(root, IMAGE_SUFFIXES).digest
    monkeypatch.delitem(layout.PARTS, "val")
    assert list_files(root, IMAGE_SUFFIXES).digest != digest


def test_train_and_val_without_test_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"nothing under test/.*found: train/, val/\); to test on val/, name it test/"):
        load(spec(), made(tmp_path / "set", *split_of("train", "val")))


def test_a_class_that_only_the_validation_set_has_is_refused(tmp_path):
    with pytest.raises(DataError, match="val/ has classes that train/ lacks: fox"):
        load(spec(), made(tmp_path / "set", *split_of("train", "test"), "val/fox"))


@pytest.mark.parametrize("folders", [("train", "test"), ("cat/train", "cat/test", "dog/train", "dog/test")])
def test_parts_of_a_split_are_not_taken_for_classes(tmp_path, folders):
    with pytest.raises(DataError, match="right under test/, train/, which are parts of a split and no classes"):
        load(spec(), made(tmp_path / "set", *folders))


def test_what_lies_outside_the_split_or_the_classes_is_said(tmp_path):
    root = made(tmp_path / "set", *split_of("train", "test"), "extra/cat")
    said = "5 files left out that lie outside test/, train/ (extra/cat/0.png, extra/cat/1.png, …)"
    assert said in load(spec(), root).variant
    classes = made(tmp_path / "classes", "cat", "dog")
    Image.new("L", (8, 8)).save(classes / "sample.png")
    assert "1 files left out that lie in no folder of a class (sample.png)" in load(spec(), classes).variant


def test_images_in_formats_that_are_not_read_are_said(tmp_path):
    root = made(tmp_path / "set", "cat", "dog")
    for number in range(3):
        Image.new("L", (8, 8)).save(root / "cat" / f"{number}.gif")
    assert "3 .gif files left out: not read here" in load(spec(), root).variant
    for path in root.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"no \.jpg/.* files under CLASS/.*; 3 \.gif files left out"):
        load(spec(), root)


def test_classes_of_one_name_from_several_folders_are_said(tmp_path):
    root = made(tmp_path / "set", *split_of("fold1", "fold2"))
    assert "classes of one name taken together from fold1, fold2" in load(spec(), root).variant
    apart = made(tmp_path / "apart", "pets/cat", "wild/fox")
    assert "taken together" not in load(spec(), apart).variant


def test_an_ordinary_layout_adds_nothing_to_the_variant(tmp_path):
    data = load(spec(), made(tmp_path / "set", *split_of("train", "test")))
    assert data.variant.startswith("1x8x8; published train/test split; validation 20% of train, seed 0; ")
    assert np.unique(data.test.images).tolist() == list(range(10, 20))
