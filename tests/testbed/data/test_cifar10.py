"""CIFAR-10 from its binary version, checked before it is read."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from testbed.data import cifar10
from testbed.data.datasets import DatasetSpec, load
from testbed.errors import DataError

PER_BATCH = 40


def write_archive(path: Path, batches: dict[str, np.ndarray]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, records in batches.items():
            content = records.tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def batches() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {}
    for name in (cifar10.TEST, *reversed(cifar10.TRAIN)):
        records = rng.integers(0, 256, (PER_BATCH, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(PER_BATCH) % 10
        made[name] = records
    return made


@pytest.fixture
def folder(tmp_path: Path, batches, monkeypatch: pytest.MonkeyPatch) -> Path:
    md5 = write_archive(tmp_path / "cifar-10-binary.tar.gz", batches)
    monkeypatch.setattr(cifar10, "PER_BATCH", PER_BATCH)
    monkeypatch.setattr(cifar10, "ARCHIVE", replace(cifar10.ARCHIVE, md5=md5))
    return tmp_path


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "cifar10", "validation": 0.2, **more})


def test_images_and_labels_are_those_of_the_records(folder, batches):
    data = load(spec(), folder)
    test = batches[cifar10.TEST]
    np.testing.assert_array_equal(data.test.images, test[:, 1:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(data.test.labels, test[:, 0])
    assert (len(data.train), len(data.validation), len(data.test)) == (160, 40, 40)
    assert "published train/test split" in data.variant
    assert data.classes[9] == "truck"
    assert load(spec(), folder / "cifar-10-binary.tar.gz").variant == data.variant


def test_training_batches_come_in_their_order(folder, batches):
    data = load(spec(), folder)
    first = batches["data_batch_1.bin"][:, 1:].reshape(-1, 3, 32, 32)
    kept = [image for image in first if any(np.array_equal(image, other) for other in data.train.images[:40])]
    np.testing.assert_array_equal(np.stack(kept), data.train.images[: len(kept)])


def test_other_sizes_and_grey(folder):
    data = load(spec(image_size=16, channels=1, max_per_class=5), folder)
    assert data.train.images.shape == (40, 1, 16, 16)
    assert len(data.test) == 40


def test_an_archive_with_another_checksum_is_refused(folder, batches, cache):
    batches[cifar10.TEST][0, 5] ^= 1
    write_archive(folder / "cifar-10-binary.tar.gz", batches)
    with pytest.raises(DataError, match="is not the published"):
        load(spec(), folder)
    assert not list(cache.glob("cifar10-*"))


def test_an_archive_that_cannot_be_unpacked_is_named(folder, monkeypatch):
    archive = folder / "cifar-10-binary.tar.gz"
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:400] + b"\xff" * 400 + whole[800:], b"", b"no archive"):
        archive.write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        monkeypatch.setattr(cifar10, "ARCHIVE", replace(cifar10.ARCHIVE, md5=md5))
        with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: cannot be unpacked: \S") as caught:
            load(spec(), folder)
        assert "\n" not in str(caught.value)


def test_missing_files_are_said_and_the_pickle_is_left_alone(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"pickle")
    with pytest.raises(DataError) as caught:
        load(spec(), tmp_path)
    message = str(caught.value)
    assert "cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in message
    assert "MD5 c32a1d4ab5d03f1284b67883e8d87530" in message
    assert "is a pickle" in message
    assert "\n" not in message
    with pytest.raises(DataError, match="--data DIR"):
        load(spec())
