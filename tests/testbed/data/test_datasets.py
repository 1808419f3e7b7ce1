"""Data sets of stills: arrays of the promised shapes, from folder and zip alike, plain words when one is missing."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.data.datasets import DatasetSpec, load, source_digest
from testbed.errors import DataError


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "image_folder", "image_size": 16, "validation": 0.2, **more})


def same(a, b) -> bool:
    return all(
        np.array_equal(getattr(a, part).images, getattr(b, part).images)
        and np.array_equal(getattr(a, part).labels, getattr(b, part).labels)
        for part in ("train", "validation", "test")
    )


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path("above") / file.relative_to(folder))
    return path


def test_an_image_folder_is_split_by_class_and_sized(folder):
    pets = load(spec(), folder)
    assert pets.classes == ("cat", "dog")
    assert pets.static
    assert pets.train.images.shape[1:] == (3, 16, 16)
    assert pets.train.images.dtype == np.uint8
    assert (len(pets.train), len(pets.validation), len(pets.test)) == (17, 4, 8)
    assert sorted(np.bincount(pets.validation.labels)) == [2, 2]
    assert "published train/test split" in pets.variant
    assert "17/4/8 train/validation/test samples" in pets.variant


def test_pixels_are_those_of_the_files(folder):
    pets = load(spec(image_size=20), folder)
    dog = np.asarray(Image.open(folder / "test/dog/3.png").resize((20, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pets.test.images[-1], dog.transpose(2, 0, 1))
    assert pets.test.labels.tolist() == [0] * 4 + [1] * 4


def test_coloured_images_are_greyed_for_a_model_of_one_channel(folder):
    assert load(spec(channels=1), folder).train.images.shape[1:] == (1, 16, 16)


def test_a_zip_gives_what_its_folder_gives(folder, unsplit, tmp_path):
    for source in (folder, unsplit):
        assert same(load(spec(), source), load(spec(), zipped(source, tmp_path / f"{source.name}.zip")))


def test_class_folders_without_a_split_are_split_by_seed(unsplit):
    a, b, c = (load(spec(seed=seed, test=0.3), unsplit) for seed in (0, 0, 1))
    assert a.classes == ("Ant", "bee", "cow")
    assert (len(a.train), len(a.validation), len(a.test)) == (18, 3, 9)
    assert np.bincount(a.test.labels).tolist() == [3, 3, 3]
    assert same(a, b)
    assert not same(a, c)
    assert "random 70/30 train/test split of each class, seed 0" in a.variant


def test_no_sample_is_in_two_parts(unsplit):
    animals = load(spec(), unsplit)
    parts = [{image.tobytes() for image in getattr(animals, p).images} for p in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30


def test_the_seed_decides_what_is_held_back_and_nothing_is_lost(folder):
    a, b, c = (load(spec(seed=seed), folder) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.validation.images, b.validation.images)
    assert not np.array_equal(a.validation.images, c.validation.images)
    whole = np.concatenate([a.train.images, a.validation.images]).sum(dtype=np.int64)
    assert whole == np.concatenate([c.train.images, c.validation.images]).sum(dtype=np.int64)


def test_a_quick_run_takes_few_of_each_class_and_says_so(folder, unsplit):
    pets = load(spec(max_per_class=4), folder)
    assert (len(pets.train) + len(pets.validation), len(pets.test)) == (8, 8)
    assert "at most 4 a class" in pets.variant
    animals = load(spec(max_per_class=5), unsplit)
    assert len(animals.train) + len(animals.validation) + len(animals.test) == 15
    digits = load(DatasetSpec(name="digits", max_per_class=10))
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (70, 10, 20)


def test_a_second_load_reads_what_was_prepared(folder, monkeypatch):
    first = load(spec(), folder)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("decoded again"))
    assert same(first, load(spec(seed=0), folder))


def test_changed_files_are_decoded_again(folder):
    load(spec(), folder)
    before = source_digest(spec(), folder)
    Image.new("RGB", (20, 20), (255, 0, 0)).save(folder / "test/cat/0.png")
    assert load(spec(), folder).test.images[0, 0].min() == 255
    assert source_digest(spec(), folder) != before


def test_what_is_loaded_can_be_written_to(folder):
    load(spec(), folder).train.images[0] = 0


def test_digits_are_real_images_with_every_class_in_the_test_set():
    digits = load(DatasetSpec(name="digits"))
    assert digits.test.images.shape == (359, 1, 32, 32)
    assert len(digits.train) + len(digits.validation) + len(digits.test) == 1797
    assert (np.bincount(digits.test.labels) >= 34).all()
    assert digits.test.images.max() > 200
    assert source_digest(DatasetSpec(name="digits"), Path("ignored")) is None


def test_the_split_of_the_digits_is_the_one_that_shipped_models_were_trained_on():
    digits = load(DatasetSpec(name="digits"))
    sums = [int(part.images.sum(dtype=np.int64)) for part in (digits.train, digits.validation, digits.test)]
    assert sums == [103_381_796, 11_427_760, 28_557_068]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "--data PATH"),
        (lambda path: path / "nowhere", "no such folder or zip"),
        (lambda path: path, "no .jpg/.* files under CLASS/"),
    ],
)
def test_missing_data_is_said_in_one_line(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as caught:
        load(spec(), make(tmp_path))
    assert "\n" not in str(caught.value)


def test_folders_that_are_laid_out_neither_way_are_refused(folder, unsplit, tmp_path):
    with pytest.raises(DataError, match="split: random"):
        load(spec(split="random"), folder)
    with pytest.raises(DataError, match="no published split"):
        load(spec(split="published"), unsplit)
    (folder / "test").rename(folder / "exam")
    with pytest.raises(DataError, match="nothing under test/CLASS"):
        load(spec(), folder)
    (unsplit / "more" / "elk").mkdir(parents=True)
    Image.new("L", (8, 8)).save(unsplit / "more/elk/0.png")
    with pytest.raises(DataError, match="different depths"):
        load(spec(), unsplit)
    (tmp_path / "one/class").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "one/class/0.png")
    with pytest.raises(DataError, match="only one class"):
        load(spec(), tmp_path / "one")


def test_a_class_that_only_the_test_set_has_is_refused(folder):
    (folder / "test/dog").rename(folder / "test/fox")
    with pytest.raises(DataError, match="train/ lacks: fox"):
        load(spec(), folder)


def test_a_class_without_training_images_is_refused(unsplit):
    for number in range(1, 10):
        (unsplit / "cow" / f"{number}.png").unlink()
    with pytest.raises(DataError, match="cow has too few samples"):
        load(spec(), unsplit)


def test_a_damaged_image_and_a_damaged_zip_are_named(folder, tmp_path, cache):
    (folder / "train/cat/0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/cat/0\.png: this image cannot be read"):
        load(spec(), folder)
    assert not list(cache.glob("images-*"))
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="not a zip"):
        load(spec(), tmp_path / "broken.zip")


def test_a_damaged_member_of_a_zip_is_named(unsplit, tmp_path):
    path = zipped(unsplit, tmp_path / "animals.zip")
    data = bytearray(path.read_bytes())
    at = data.index((unsplit / "bee/3.png").read_bytes())
    data[at + 20] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bee/3\.png is damaged"):
        load(spec(), path)


@pytest.mark.skipif("TESTBED_DATA" not in os.environ, reason="needs the CIFAR-10 images (TESTBED_DATA)")
def test_cifar10_as_a_zip_of_jpegs_has_its_published_split():
    path = Path(os.environ["TESTBED_DATA"]) / "cifar10-jpeg.zip"
    cifar = load(spec(max_per_class=20), path)
    assert (len(cifar.train), len(cifar.validation), len(cifar.test)) == (160, 40, 200)
    assert cifar.classes[0] == "airplane"
