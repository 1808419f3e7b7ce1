"""Caltech-101 (Fei-Fei, Fergus and Perona 2004), from the published archive or from folders of its images.

Labels are positions in the sorted names of the 101 classes; BACKGROUND_Google, which is no class, is left out. Both are
as torchvision's Caltech101 has it; its reader is not used since it counts on files numbered without a gap and lists
whatever else lies in the folder. There is no published split.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from testbed.data import zips
from testbed.data.cache import prepared
from testbed.data.disk import exists, is_folder, status, walk
from testbed.data.files import IMAGE_SUFFIXES, Listing, list_files
from testbed.data.images import FITS, decoded
from testbed.data.samples import Dataset, Samples, split_samples
from testbed.data.size import shown
from testbed.data.sources import Archive, missing
from testbed.data.spec import DatasetSpec
from testbed.data.tars import tarred
from testbed.errors import DataError

ARCHIVE = Archive(
    "caltech-101.zip",
    "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    "3138e1922a9193bfa496528edbbc45d0",  # as torchvision 0.26 states it
)
INNER = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"
CLASSES = 101
IMAGES = {"all": 8677, 10: 3379}
"""Images of the whole data set in its two forms, without BACKGROUND_Google."""

TEN = (5, 3, 0, 1, 94, 2, 12, 19, 55, 23)
"""The 10-class form of co-inference papers: its labels 0..9 are these of the 101 sorted names, the largest classes."""

TEN_NAMES = (
    "airplanes",
    "Motorbikes",
    "Faces",
    "Faces_easy",
    "watch",
    "Leopards",
    "bonsai",
    "car_side",
    "ketch",
    "chandelier",
)


def caltech101(spec: DatasetSpec) -> Dataset:
    """Caltech-101 in its 101-class or its 10-class form."""
    listing = _images(spec.path)
    listing = listing.of_classes([name for name in listing.classes if name != BACKGROUND])
    listing, form = in_form(listing, spec, TEN_NAMES)
    counts = np.bincount(listing.labels)
    whole = f"{len(listing)} of {IMAGES[spec.classes or 'all']} images"
    listing = listing.at_most(spec.max_per_class, spec.seed)
    found = decoded(listing, spec.image_size, spec.channels, spec.fit)
    name = "Caltech-101" + (" (10 classes)" if spec.classes == 10 else "")
    size = f"{spec.channels}x{shown(spec.image_size)}{FITS.get(spec.fit, '')}"
    variant = "; ".join([size, form, f"{whole}, up to {counts.max()} a class", *listing.notes, *found.notes])
    return split_samples(name, variant, listing.classes, Samples(found.images, listing.labels), spec)


def in_form(listing: Listing, spec: DatasetSpec, ten: tuple[str, ...]) -> tuple[Listing, str]:
    """The listing in the form that the recipe asks for, and what the variant says of it.

    Raises:
        DataError: the classes are not those of the data set.
    """
    if len(listing.classes) != CLASSES:
        raise DataError(f"{listing.source}: {len(listing.classes)} class folders where {spec.name} has {CLASSES}")
    if spec.classes == "all":
        return listing, f"{CLASSES} classes"
    names = tuple(listing.classes[label] for label in TEN)
    if names != ten:
        wrong = next(f"{name} where {right} is" for name, right in zip(names, ten, strict=True) if name != right)
        raise DataError(f"{listing.source}: the sorted class folders have {wrong} in {spec.name}; is one renamed?")
    return listing.of_classes(names), f"10 classes, labels {','.join(map(str, TEN))} of the {CLASSES} sorted names"


def _images(data: Path | None) -> Listing:
    """The images: of the published archive, of torchvision's folder, or of any folder or zip of class folders."""
    if data is None or not exists(data):
        raise missing("Caltech-101", [ARCHIVE], data)
    if (archive := ARCHIVE.in_folder(data)) is not None:
        return list_files(_unpacked(archive), IMAGE_SUFFIXES)
    for folder in (data / "caltech101" / INNER, data / INNER):
        if is_folder(folder):
            return list_files(folder, IMAGE_SUFFIXES)
    if is_folder(data) and not any("/" in name for name in walk(data)):
        raise missing("Caltech-101", [ARCHIVE], data)
    return list_files(data, IMAGE_SUFFIXES)


def _unpacked(archive: Path) -> Path:
    """The archive's images as a zip of class folders: the published zip holds a tar.gz, which has no index."""

    def make(folder: Path) -> dict[str, int]:
        ARCHIVE.verify(archive)
        count = 0
        with zips.opened(archive) as outer, zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as images:
            inner = next((name for name in outer.members if PurePosixPath(name).name == f"{INNER}.tar.gz"), None)
            if inner is None:
                raise DataError(f"{archive}: holds no {INNER}.tar.gz")
            with outer.stream(inner) as stream:
                for name, content in tarred(archive, stream):
                    images.writestr(zipfile.ZipInfo(name), content)
                    count += 1
        return {"files": count}

    stat = status(archive)
    made_from = {"archive": archive.name, "bytes": stat.st_size, "time_ns": stat.st_mtime_ns, "md5": ARCHIVE.md5}
    return prepared("caltech-101", made_from, make) / "images.zip"
