"""The recorded event data sets, CIFAR10-DVS and N-Caltech101, cut into frames straight out of their published files.

Which files, their checksums, the size of the sensor and the parser are SpikingJelly's (datasets.CIFAR10DVS and
datasets.NCaltech101). Its preparation is not used: it downloads unasked, deletes a file whose checksum is wrong, takes
an extraction that was cut short for a whole one, and keeps every event as .npz and every frame as float64.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from testbed.data.cache import counts, mapped, new_array, prepared, said
from testbed.data.caltech101 import in_form
from testbed.data.disk import exists, is_folder, walk
from testbed.data.files import Listing, contents, list_files
from testbed.data.framing import SAID, Parser, frame_all
from testbed.data.recordings import AEDAT_READER, read_aedat, read_atis
from testbed.data.samples import Dataset, Samples, split_samples
from testbed.data.size import shown
from testbed.data.sources import Archive, missing
from testbed.data.spec import DatasetSpec
from testbed.errors import DataError

CIFAR10_DVS_PER_CLASS = 1000
N_CALTECH101_RECORDINGS = 8709
"""Recordings of N-Caltech101: the 9,144 images of Caltech-101 with BACKGROUND_Google, without the 435 of Faces."""

N_CALTECH101_TEN = (
    "airplanes",
    "Motorbikes",
    "BACKGROUND_Google",
    "Faces_easy",
    "watch",
    "Leopards",
    "bonsai",
    "car_side",
    "ketch",
    "chandelier",
)
"""What the 10-class labels are here: N-Caltech101 has no Faces, so the first sorted name is BACKGROUND_Google."""

N_CALTECH101_URL = "https://data.mendeley.com/datasets/cy6cvx3ryv/1"
"""Where the authors keep it now; SpikingJelly still names their old page."""

TEST_RECORDINGS = 100
PUBLISHED_SPLIT = "published split of TEBN (NeurIPS 2022): recordings 0-99 of each class are the test set"


def cifar10_dvs(spec: DatasetSpec) -> Dataset:
    """CIFAR10-DVS (Li et al. 2017): 10,000 recordings of a DVS128 before moving CIFAR-10 images.

    It came without a split. Papers use a random one, or the first 100 recordings of each class to test, as
    SpikingJelly's CIFAR10DVSTEBNSplit has it; their accuracies differ by several points.
    """
    from spikingjelly.datasets import CIFAR10DVS
    from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS_CLASS_NAMES

    archives = [Archive(*resource) for resource in CIFAR10DVS.resource_url_md5()]
    listing, verify = _find("CIFAR10-DVS", archives, spec, (".aedat",))
    counts = np.bincount(listing.labels)
    if listing.classes != CIFAR10DVS_CLASS_NAMES:
        raise DataError(f"{listing.source}: the classes are {', '.join(listing.classes)}, not those of CIFAR10-DVS")
    if (counts != CIFAR10_DVS_PER_CLASS).any():
        short = int(np.argmax(counts != CIFAR10_DVS_PER_CLASS))
        raise DataError(
            f"{listing.source}: {counts[short]} recordings of {listing.classes[short]} where CIFAR10-DVS has "
            f"{CIFAR10_DVS_PER_CLASS}; was its extraction cut short?"
        )
    if spec.split == "published":
        numbers = [_number(listing, name) for name in listing.names]
        listing = replace(listing, parts=tuple("test" if n < TEST_RECORDINGS else "train" for n in numbers))
    sensor = CIFAR10DVS.get_H_W()
    return _framed("CIFAR10-DVS", "DVS128", listing, spec, sensor, read_aedat, verify)


def n_caltech101(spec: DatasetSpec) -> Dataset:
    """N-Caltech101 (Orchard et al. 2015): 8,709 recordings of an ATIS that made saccades before Caltech-101 images."""
    from spikingjelly.datasets import NCaltech101

    name, _, md5 = NCaltech101.resource_url_md5()[0]
    listing, verify = _find("N-Caltech101", [Archive(name, N_CALTECH101_URL, md5)], spec, (".bin",))
    if len(listing) != N_CALTECH101_RECORDINGS:
        raise DataError(
            f"{listing.source}: {len(listing)} recordings where N-Caltech101 has {N_CALTECH101_RECORDINGS}; "
            "was its extraction cut short?"
        )
    listing, form = in_form(listing, spec, N_CALTECH101_TEN)
    title = "N-Caltech101" + (" (10 classes)" if spec.classes == 10 else "")
    return _framed(title, f"ATIS; {form}", listing, spec, NCaltech101.get_H_W(), read_atis, verify)


def _find(
    title: str, archives: list[Archive], spec: DatasetSpec, suffixes: tuple[str, ...]
) -> tuple[Listing, list[tuple[Archive, Path]]]:
    """The recordings, in the published archives or extracted, and which archives are yet to be verified."""
    data = spec.path
    if data is None or not exists(data):
        raise missing(title, archives, data)
    found = [(archive, path) for archive in archives if (path := archive.in_folder(data)) is not None]
    if len(found) == len(archives):
        return list_files(data, suffixes, [path for _, path in found]), found
    extracted = data / "extract" if is_folder(data / "extract") else data
    if not found and is_folder(extracted) and any(name.lower().endswith(suffixes) for name in walk(extracted)):
        return list_files(extracted, suffixes), []
    here = {archive.name for archive, _ in found}
    raise missing(title, [archive for archive in archives if archive.name not in here], data)


def _number(listing: Listing, name: str) -> int:
    """The number of a recording in its class, by its name: cifar10_CLASS_NUMBER.aedat."""
    number = PurePosixPath(name).stem.rpartition("_")[2]
    if not number.isdecimal():
        raise DataError(f"{listing.source}: {name} does not end in a number, as recordings of CIFAR10-DVS do")
    return int(number)


def _framed(
    title: str,
    sensor_name: str,
    listing: Listing,
    spec: DatasetSpec,
    sensor: tuple[int, int],
    parse: Parser,
    verify: list[tuple[Archive, Path]],
) -> Dataset:
    if spec.frames is None or spec.split_by is None:
        raise ValueError(f"{spec.name} is no data set of events")
    frames_number, split_by, size = spec.frames, spec.split_by, spec.image_size
    listing = listing.at_most(spec.max_per_class, spec.seed)
    made_from: dict[str, Any] = {
        "recordings": listing.digest,
        "frames": frames_number,
        "split_by": split_by,
        "image_size": size,
        "md5": [archive.md5 for archive, _ in verify],
    }
    if parse is read_aedat:
        made_from["aedat_reader"] = AEDAT_READER

    def make(folder: Path) -> dict[str, int]:
        for archive, path in verify:
            archive.verify(path)
        shape = (len(listing), frames_number, 2, *spec.size)
        frames = new_array(folder / "frames.npy", shape)
        return {"recordings": len(frames), **frame_all(contents(listing), frames, parse, sensor, split_by)}

    folder = prepared(f"frames-{spec.name}", made_from, make)
    frames = mapped(folder / "frames.npy")
    height, width = sensor
    reduced = "" if sensor == spec.size else f", coordinates divided to {shown(size)}"
    source = "archives, MD5 verified" if verify else "extracted files, counted"
    form = f"recorded events, {sensor_name} {width}x{height}{reduced}; {source}; {frames_number} frames by {split_by}"
    variant = "; ".join([form, *listing.notes, *said(counts(folder), SAID)])
    test = np.array(listing.parts) == "test" if listing.split else None
    return split_samples(
        title, variant, listing.classes, Samples(frames, listing.labels), spec, test, published=PUBLISHED_SPLIT
    )
