"""Data sets: arrays of the promised shapes, from a folder as from a zip, and plain words when one is missing."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.data.datasets import DatasetSpec, load
from testbed.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for label in ("cat", "dog"):
            target = tmp_path / "pets" / part / label
            target.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(target / f"{number}.png")
    # A grey image among the coloured ones, as Caltech-101 has them.
    Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(tmp_path / "pets/train/cat/grey.png")
    return tmp_path / "pets"


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "image_folder", "image_size": 16, "validation": 0.2, **more})


def test_an_image_folder_is_split_by_class_and_sized(folder):
    pets = load(spec(), folder)
    assert pets.classes == ("cat", "dog")
    assert pets.train.images.shape[1:] == (3, 16, 16)
    assert pets.train.images.dtype == np.uint8
    assert (len(pets.train), len(pets.validation), len(pets.test)) == (17, 4, 8)
    assert sorted(np.bincount(pets.validation.labels)) == [2, 2]


def test_coloured_images_are_greyed_for_a_model_of_one_channel(folder):
    assert load(spec(channels=1), folder).train.images.shape[1:] == (1, 16, 16)


def test_a_zip_gives_what_its_folder_gives(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, Path("above") / path.relative_to(folder))
    a, b = load(spec(), folder), load(spec(), tmp_path / "pets.zip")
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(a, part).images, getattr(b, part).images)
        np.testing.assert_array_equal(getattr(a, part).labels, getattr(b, part).labels)


def test_the_seed_decides_what_is_held_back_and_nothing_is_lost(folder):
    a, b, c = (load(spec(seed=seed), folder) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.validation.images, b.validation.images)
    assert not np.array_equal(a.validation.images, c.validation.images)
    whole = np.concatenate([a.train.images, a.validation.images]).sum(dtype=np.int64)
    assert whole == np.concatenate([c.train.images, c.validation.images]).sum(dtype=np.int64)


def test_digits_are_real_images_with_every_class_in_the_test_set():
    digits = load(DatasetSpec(name="digits", channels=1))
    assert digits.test.images.shape == (359, 1, 32, 32)
    assert len(digits.train) + len(digits.validation) + len(digits.test) == 1797
    assert (np.bincount(digits.test.labels) >= 34).all()
    assert digits.test.images.max() > 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "--data PATH"),
        (lambda path: path / "nowhere", "no such folder or zip"),
        (lambda path: path, "no images under train"),
    ],
)
def test_missing_data_is_said_in_one_line(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as caught:
        load(spec(), make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_image_and_a_damaged_zip_are_named(folder, tmp_path):
    (folder / "train/cat/0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="class cat"):
        load(spec(), folder)
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="not a zip"):
        load(spec(), tmp_path / "broken.zip")


@pytest.mark.skipif("TESTBED_DATA" not in os.environ, reason="needs the CIFAR-10 images (TESTBED_DATA)")
def test_cifar10_as_a_zip_of_jpegs_has_its_published_split():
    path = Path(os.environ["TESTBED_DATA"]) / "cifar10-jpeg.zip"
    cifar = load(DatasetSpec(name="image_folder", image_size=32, validation=0.04), path)
    assert (len(cifar.train), len(cifar.validation), len(cifar.test)) == (48000, 2000, 10000)
    assert cifar.classes[0] == "airplane"
