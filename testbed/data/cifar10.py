"""CIFAR-10 (Krizhevsky 2009) from its binary version, straight out of the published archive.

The Python version, which torchvision reads, is a pickle: loading one runs what is in it. The binary version has the
same images in the same order as plain bytes.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from testbed.data.cache import mapped, new_array, prepared
from testbed.data.disk import exists, status
from testbed.data.images import fit
from testbed.data.samples import Dataset, Samples, at_most, split_samples
from testbed.data.size import shown
from testbed.data.sources import Archive, missing
from testbed.data.spec import DatasetSpec
from testbed.data.tars import tarred
from testbed.errors import DataError

ARCHIVE = Archive(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",  # as its page states it
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
PER_BATCH = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
"""A label, then the red, green and blue planes, rows first."""


def cifar10(spec: DatasetSpec) -> Dataset:
    """CIFAR-10 with its published split: 50,000 images to train, 10,000 to test."""
    archive = ARCHIVE.in_folder(spec.path) if spec.path is not None else None
    if archive is None:
        note = (
            "" if spec.path is None or not _pickled(spec.path) else "; the Python version there is a pickle: not read"
        )
        raise missing("CIFAR-10 (binary version)", [ARCHIVE], spec.path, note)
    stat = status(archive)
    made_from = {
        "archive": [archive.name, stat.st_size, stat.st_mtime_ns, ARCHIVE.md5],
        "image_size": spec.image_size,
        "channels": spec.channels,
    }

    def make(folder: Path) -> dict[str, int]:
        ARCHIVE.verify(archive)
        records = _records(archive)
        shape = (len(records), spec.channels, *spec.size)
        images = new_array(folder / "images.npy", shape)
        for position, record in enumerate(records):
            picture = Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
            images[position] = fit(picture, spec.image_size, spec.channels)
        np.save(folder / "labels.npy", records[:, 0].astype(np.int64), allow_pickle=False)
        return {"images": len(images)}

    folder = prepared("cifar10", made_from, make)
    images = mapped(folder / "images.npy")
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    test = np.arange(len(labels)) >= len(labels) - PER_BATCH
    kept = np.concatenate(
        [part[at_most(labels[part], spec.max_per_class, spec.seed)] for part in map(np.flatnonzero, (~test, test))]
    )
    variant = f"{spec.channels}x{shown(spec.image_size)}; binary version, MD5 verified"
    return split_samples("CIFAR-10", variant, CLASSES, Samples(images, labels).take(kept), spec, test[kept])


def _records(archive: Path) -> NDArray[np.uint8]:
    """All records, uint8 [60000, 3073], the test batch last."""
    wanted = (*TRAIN, TEST)
    found = {PurePosixPath(name).name: content for name, content in tarred(archive)}
    for name in wanted:
        if len(found.get(name, b"")) != PER_BATCH * RECORD_BYTES:
            raise DataError(f"{archive}: {name} is not {PER_BATCH} records of {RECORD_BYTES} bytes")
    return np.frombuffer(b"".join(found[name] for name in wanted), np.uint8).reshape(-1, RECORD_BYTES)


def _pickled(data: Path) -> bool:
    return any(exists(data / name) for name in ("cifar-10-python.tar.gz", "cifar-10-batches-py"))
