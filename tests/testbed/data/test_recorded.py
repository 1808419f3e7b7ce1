"""CIFAR10-DVS and N-Caltech101: from their archives and extracted, whole or refused."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from spikingjelly.datasets import CIFAR10DVS, NCaltech101
from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS_CLASS_NAMES

from testbed.data import recorded
from testbed.data.datasets import DatasetSpec, load
from testbed.data.framing import to_frames
from testbed.data.recordings import read_aedat, read_atis
from testbed.errors import DataError
from tests.testbed.data.conftest import aedat_file, atis_file
from tests.testbed.data.test_caltech101 import NAMES

PER_CLASS = 12
TEST = 3
DATA = Path(os.environ.get("TESTBED_DATA", "nowhere")) / "events"
real = pytest.mark.skipif(not DATA.exists(), reason="needs the real recordings (TESTBED_DATA)")
N_NAMES = sorted(["BACKGROUND_Google", *NAMES[1:]])


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def dvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR10-DVS as it is published, twelve recordings a class."""
    folder = tmp_path / "cifar10dvs"
    folder.mkdir()
    for label, name in enumerate(CIFAR10DVS_CLASS_NAMES):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for number in range(PER_CLASS):
                archive.writestr(f"{name}/cifar10_{name}_{number}.aedat", aedat_file(100 * label + number))
    resources = [(name, url, md5(folder / name)) for name, url, _ in CIFAR10DVS.resource_url_md5()]
    monkeypatch.setattr(CIFAR10DVS, "resource_url_md5", classmethod(lambda _: resources))
    monkeypatch.setattr(recorded, "CIFAR10_DVS_PER_CLASS", PER_CLASS)
    monkeypatch.setattr(recorded, "TEST_RECORDINGS", TEST)
    return folder


@pytest.fixture
def n_caltech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """N-Caltech101 as it is published, four recordings a class."""
    folder = tmp_path / "ncaltech"
    folder.mkdir()
    with zipfile.ZipFile(folder / "Caltech101.zip", "w") as archive:
        for label, name in enumerate(N_NAMES):
            for number in range(4):
                content = atis_file(10 * label + number, count=label + 1)
                archive.writestr(f"Caltech101/{name}/image_{number:04d}.bin", content)
    resource = ("Caltech101.zip", "https://example.org", md5(folder / "Caltech101.zip"))
    monkeypatch.setattr(NCaltech101, "resource_url_md5", classmethod(lambda _: [resource]))
    monkeypatch.setattr(recorded, "N_CALTECH101_RECORDINGS", 4 * 101)
    return folder


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "cifar10_dvs", "split": "random", "frames": 4, "validation": 0.2, **more})


def ten(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "n_caltech101", "frames": 2, "test": 0.25, **more})


def extracted(folder: Path) -> Path:
    for path in folder.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder / "extract")
        path.unlink()
    return folder


def test_cifar10_dvs_in_frames(dvs):
    data = load(spec(), dvs)
    assert data.name == "CIFAR10-DVS"
    assert data.classes == CIFAR10DVS_CLASS_NAMES
    assert not data.static
    assert data.train.images.shape == (90, 4, 2, 32, 32)
    assert (len(data.validation), len(data.test)) == (20, 10)
    assert (data.train.images.sum((1, 2, 3, 4)) == 60).all()
    for said in (
        "recorded events",
        "MD5 verified",
        "128x128",
        "divided to 32x32",
        "random 90/10",
        "4 frames by number",
    ):
        assert said in data.variant
    assert "simulated" not in data.variant


def test_the_published_split_tests_on_the_first_recordings_of_each_class(dvs, tmp_path):
    data = load(spec(split="published", image_size=128), dvs)
    assert len(data.test) == 10 * TEST
    assert "TEBN" in data.variant
    (tmp_path / "one.aedat").write_bytes(aedat_file(2))
    expected = to_frames(read_aedat(tmp_path / "one.aedat"), (128, 128), 4, "number", 128)
    assert any(np.array_equal(expected, frames) for frames in data.test.images[data.test.labels == 0])
    few = load(spec(split="published", max_per_class=4), dvs)
    assert (len(few.test), len(few.train) + len(few.validation)) == (30, 40)


def test_extracted_recordings_give_what_the_archives_give(dvs):
    whole = load(spec(split_by="time"), dvs)
    data = load(spec(split_by="time"), extracted(dvs))
    np.testing.assert_array_equal(data.train.images, whole.train.images)
    assert "extracted files, counted" in data.variant
    assert load(spec(), dvs / "extract").classes == data.classes


def test_an_extraction_that_was_cut_short_is_refused(dvs):
    (extracted(dvs) / "extract/bird/cifar10_bird_7.aedat").unlink()
    with pytest.raises(DataError, match="11 recordings of bird where CIFAR10-DVS has 12"):
        load(spec(), dvs)
    shutil.rmtree(dvs / "extract/bird")
    with pytest.raises(DataError, match="not those of CIFAR10-DVS"):
        load(spec(), dvs)


def test_a_recording_cut_short_is_named_and_nothing_is_kept(dvs, cache):
    path = extracted(dvs) / "extract/dog/cifar10_dog_3.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"cifar10_dog_3\.aedat: .*cut short"):
        load(spec(), dvs)
    assert not list(cache.glob("frames-*"))


def test_a_damaged_archive_is_refused_and_left_where_it_is(dvs, cache):
    with (dvs / "cat.zip").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"cat\.zip: MD5 .* is not the published"):
        load(spec(), dvs)
    assert (dvs / "cat.zip").exists()
    assert not list(cache.glob("frames-*"))


def test_only_the_archives_that_are_missing_are_asked_for(dvs):
    (dvs / "cat.zip").unlink()
    with pytest.raises(DataError) as caught:
        load(spec(), dvs)
    message = str(caught.value)
    assert "cat.zip from https://ndownloader.figshare.com/files/7712812 (MD5 " in message
    assert "dog.zip" not in message
    assert f"put it into {dvs}" in message
    assert "\n" not in message


def test_n_caltech101_has_101_classes_the_background_among_them(n_caltech):
    data = load(ten(), n_caltech)
    assert len(data.classes) == 101
    assert data.classes[0] == "BACKGROUND_Google"
    assert (len(data.train), len(data.validation), len(data.test)) == (202, 101, 101)
    assert "240x180" in data.variant
    assert "101 classes" in data.variant


def test_the_ten_class_form_of_n_caltech101_keeps_the_labels_of_the_papers(n_caltech):
    data = load(ten(classes=10), n_caltech)
    assert data.name == "N-Caltech101 (10 classes)"
    assert data.classes[:4] == ("airplanes", "Motorbikes", "BACKGROUND_Google", "Faces_easy")
    events = [data.test.images[data.test.labels == label].sum() - 1 for label in range(10)]
    assert events == [5, 3, 0, 1, 94, 2, 12, 19, 55, 23]  # a recording has as many events as its sorted label, and one


def test_n_caltech101_extracted_and_cut_short(n_caltech):
    folder = extracted(n_caltech)
    assert len(load(ten(), folder).classes) == 101
    assert len(load(ten(), folder / "extract/Caltech101").classes) == 101
    next(folder.rglob("*.bin")).unlink()
    with pytest.raises(DataError, match="403 recordings where N-Caltech101 has 404"):
        load(ten(), folder)


def test_overflow_markers_refuse_no_data_set(n_caltech):
    path = next(iter(sorted(extracted(n_caltech).rglob("*.bin"))))
    path.write_bytes(path.read_bytes() + bytes([0, 240, 0, 0, 0]) + bytes([5, 6, 0x80, 0, 9]))
    data = load(ten(), n_caltech)
    counts = [part.images.sum((1, 2, 3, 4)) for part in (data.train, data.validation, data.test)]
    assert sorted(np.concatenate(counts))[:5] == [1, 1, 1, 2, 2]


def test_what_recordings_hold_beside_pixels_is_said(dvs):
    path = extracted(dvs) / "extract/dog/cifar10_dog_3.aedat"
    external = np.array([0x8000, 1 << 31, 0x8001, 0], dtype=">u4").tobytes()
    path.write_bytes(path.read_bytes() + external)
    for _ in range(2):
        variant = load(spec(), dvs).variant
        assert "2 events left out that are of no pixel" in variant
        assert "times out of order" not in variant
    path.write_bytes(path.read_bytes() + np.array([1, 0], dtype=">u4").tobytes())
    assert "1 recordings with times out of order, put in order" in load(spec(), dvs).variant


def test_what_an_older_reader_made_of_aer_dat_alone_is_read_again(dvs, n_caltech, cache, monkeypatch):
    def preparations() -> list[int]:
        load(spec(), dvs)
        load(ten(), n_caltech)
        return [len(list(cache.glob(f"frames-{name}-*"))) for name in ("cifar10_dvs", "n_caltech101")]

    assert preparations() == [1, 1]
    monkeypatch.setattr(recorded, "AEDAT_READER", 1)
    assert preparations() == [2, 1]


def test_a_recording_without_a_number_is_named_for_the_published_split(dvs):
    folder = extracted(dvs) / "extract/dog"
    (folder / "cifar10_dog_3.aedat").rename(folder / "cifar10_dog_3 (1).aedat")
    with pytest.raises(DataError, match=r"dog_3 \(1\)\.aedat does not end in a number"):
        load(spec(split="published"), dvs)


@pytest.mark.parametrize("block", [spec(), ten()])
def test_missing_data_is_said_with_origin_and_checksum(block, tmp_path):
    for where in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"get \S+\.zip from https://\S+ \(MD5 \w{32}\)") as caught:
            load(block, where)
        assert "\n" not in str(caught.value)


@real
def test_real_dvs128_recordings_go_through_the_loader_of_cifar10_dvs(dvs):
    (one, two), folder = sorted((DATA / "dvs128").glob("*.aedat")), extracted(dvs) / "extract"
    for name in CIFAR10DVS_CLASS_NAMES:
        shutil.copy(one, folder / name / f"cifar10_{name}_0.aedat")
        shutil.copy(two, folder / name / f"cifar10_{name}_5.aedat")
    data = load(spec(split="published", frames=10, image_size=64), dvs)
    counts = data.test.images.sum((1, 2, 3, 4), dtype=np.int64)
    assert sorted(counts)[-10:] == [19182] * 10


@real
def test_real_atis_recordings_go_through_the_loader_of_n_caltech101(n_caltech, tmp_path):
    folder = extracted(n_caltech) / "extract/Caltech101"
    paths = sorted((DATA / "nmnist").glob("*.bin"))
    for number, name in enumerate(N_NAMES):
        for image in range(4):
            shutil.copy(paths[(number + image) % len(paths)], folder / name / f"image_{image:04d}.bin")
    data = load(ten(frames=10, image_size=60), n_caltech)
    counts = set(data.train.images.sum((1, 2, 3, 4), dtype=np.int64).tolist())
    assert counts <= {len(read_atis(path)) for path in paths}
