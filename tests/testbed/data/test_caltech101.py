"""Caltech-101: its two forms, from the published archive, torchvision's folder and class folders."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Caltech101

from testbed.data import caltech101
from testbed.data.datasets import DatasetSpec, load
from testbed.data.files import IMAGE_SUFFIXES, list_files
from testbed.errors import DataError

WORDS = """Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai brain
brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body cougar_face crab
crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium
ewer ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog helicopter ibis
inline_skate joshua_tree kangaroo ketch lamp laptop llama lobster lotus mandolin mayfly menorah metronome minaret
nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner scissors
scorpion sea_horse snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite
umbrella watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang"""
NAMES = WORDS.split()


def jpeg(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (9, 8), grey).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def torchvisions(tmp_path: Path) -> Path:
    """torchvision's folder, four images a class, each of its class's own grey."""
    for grey, name in enumerate([*NAMES, "BACKGROUND_Google"]):
        target = tmp_path / "data/caltech101/101_ObjectCategories" / name
        target.mkdir(parents=True)
        for number in range(1, 5):
            (target / f"image_{number:04d}.jpg").write_bytes(jpeg(2 * grey))
    return tmp_path / "data"


@pytest.fixture
def published(torchvisions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive as it is published: a zip with a tar.gz in it."""
    folder = tmp_path / "download"
    folder.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(torchvisions / "caltech101/101_ObjectCategories", "101_ObjectCategories")
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        archive.writestr("caltech-101/101_ObjectCategories.tar.gz", buffer.getvalue())
        archive.writestr("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"leaving")
    md5 = hashlib.md5((folder / "caltech-101.zip").read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(caltech101, "ARCHIVE", replace(caltech101.ARCHIVE, md5=md5))
    return folder


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "caltech101", "image_size": 8, "channels": 1, "test": 0.25, **more})


def test_labels_are_torchvisions(torchvisions):
    theirs = Caltech101(torchvisions)
    ours = list_files(torchvisions / "caltech101/101_ObjectCategories", IMAGE_SUFFIXES)
    ours = ours.of_classes([name for name in ours.classes if name != "BACKGROUND_Google"])
    assert list(ours.classes) == theirs.categories == NAMES
    assert ours.labels.tolist() == theirs.y
    assert [int(name[-8:-4]) for name in ours.names] == theirs.index


def test_all_101_classes_without_the_background(torchvisions):
    data = load(spec(), torchvisions)
    assert len(data.classes) == 101
    assert (len(data.train), len(data.validation), len(data.test)) == (202, 101, 101)
    assert "404 of 8677 images, up to 4 a class" in data.variant
    assert data.name == "Caltech-101"


def test_the_ten_class_form_has_the_labels_of_the_papers(torchvisions):
    data = load(spec(classes=10), torchvisions)
    assert data.classes[:3] == ("airplanes", "Motorbikes", "Faces")
    assert "labels 5,3,0,1,94,2,12,19,55,23" in data.variant
    assert data.name == "Caltech-101 (10 classes)"
    greys = [round(data.train.images[data.train.labels == label].mean() / 2) for label in range(10)]
    assert greys == [5, 3, 0, 1, 94, 2, 12, 19, 55, 23]


def test_the_published_archive_gives_what_its_folder_gives(torchvisions, published):
    a, b = load(spec(), torchvisions), load(spec(), published)
    np.testing.assert_array_equal(a.train.images, b.train.images)
    np.testing.assert_array_equal(a.test.labels, b.test.labels)
    assert load(spec(), published / "caltech-101.zip").variant == b.variant


def test_class_folders_without_the_background_will_do(torchvisions):
    data = torchvisions / "caltech101/101_ObjectCategories"
    assert len(load(spec(max_per_class=4), data).classes) == 101


def test_an_archive_that_is_not_the_published_one_is_refused(published, cache):
    with (published / "caltech-101.zip").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"MD5 \w{32} is not the published"):
        load(spec(), published)
    assert not list(cache.glob("caltech*"))


def test_a_damaged_archive_inside_the_published_one_is_named(published, monkeypatch):
    path = published / "caltech-101.zip"
    for content in (b"no archive", b"\x1f\x8b\x08\x00 cut"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("caltech-101/101_ObjectCategories.tar.gz", content)
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setattr(caltech101, "ARCHIVE", replace(caltech101.ARCHIVE, md5=md5))
        with pytest.raises(DataError, match=r"caltech-101\.zip: cannot be unpacked"):
            load(spec(), published)


def test_missing_and_renamed_classes_are_said(torchvisions):
    folder = torchvisions / "caltech101/101_ObjectCategories"
    (folder / "airplanes").rename(folder / "zeppelins")
    with pytest.raises(DataError, match="anchor where airplanes is"):
        load(spec(classes=10), torchvisions)
    (folder / "zeppelins").rename(torchvisions / "aside")
    with pytest.raises(DataError, match="100 class folders where caltech101 has 101"):
        load(spec(), torchvisions)


@pytest.mark.parametrize("make", [lambda _: None, lambda path: path / "nowhere", lambda path: path])
def test_missing_files_are_said_with_their_origin_and_checksum(tmp_path, make):
    with pytest.raises(DataError) as caught:
        load(spec(), make(tmp_path))
    message = str(caught.value)
    assert "caltech-101.zip from https://data.caltech.edu" in message
    assert "MD5 3138e1922a9193bfa496528edbbc45d0" in message
    assert "--data DIR" in message or f"put it into {tmp_path}" in message
    assert "\n" not in message
