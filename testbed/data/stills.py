"""The data sets of stills, and the events simulated from them: digits, image folders and zips, Caltech-101."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from testbed.data import simulated
from testbed.data.files import IMAGE_SUFFIXES, Listing, list_files
from testbed.data.images import FITS, Decoded, decoded
from testbed.data.samples import Dataset, Samples, at_most, split_samples
from testbed.data.size import shown
from testbed.data.spec import DatasetSpec
from testbed.errors import DataError


def digits(spec: DatasetSpec) -> Dataset:
    """The 1,797 8x8 handwritten digits that scikit-learn ships (UCI ML, Alpaydin and Kaynak 1998), enlarged.

    A fifth of each class is the test set; the seed decides which.
    """
    images, labels, variant = _digits(spec)
    return split_samples("digits", variant, tuple("0123456789"), Samples(images[:, None], labels), spec)


def digits_dvs(spec: DatasetSpec) -> Dataset:
    """Simulated events of the digits."""
    images, labels, variant = _digits(spec)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    names = [f"{label}/{position:05d}" for position, label in enumerate(labels)]
    frames = simulated.simulated_frames(spec, images, names, digest, "digits")
    variant = f"{variant}; {simulated.describe(spec)}"
    name = f"digits, {simulated.WORDS}"
    return split_samples(name, variant, tuple("0123456789"), Samples(frames, labels), spec)


def _digits(spec: DatasetSpec) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    kept = at_most(labels, spec.max_per_class, spec.seed)
    height, width = spec.size
    images = np.stack([_enlarged(image, (width, height)) for image in bunch.images[kept]])
    return images, labels[kept], f"scikit-learn 8x8, bilinear to {shown(spec.image_size)}"


def _enlarged(image: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    enlarged: NDArray[np.uint8] = np.asarray(grey.resize(size, Image.Resampling.BILINEAR))
    return enlarged


def image_folder(spec: DatasetSpec) -> Dataset:
    """Images as `train/CLASS/FILE` and `test/CLASS/FILE`, or as `CLASS/FILE`, in a folder or a zip."""
    listing = _listing(spec)
    found = decoded(listing, spec.image_size, spec.channels, spec.fit)
    name = spec.title or listing.source.stem
    return _split(name, _variant(spec, listing, found), listing, Samples(found.images, listing.labels), spec)


def image_folder_dvs(spec: DatasetSpec) -> Dataset:
    """Simulated events of the luma of such images."""
    listing = _listing(spec)
    found = decoded(listing, spec.image_size, 1, spec.fit)
    frames = simulated.simulated_frames(spec, found.images[:, 0], listing.names, found.digest, listing.source.stem)
    name = spec.title or listing.source.stem
    name = name if simulated.WORDS in name else f"{name}, {simulated.WORDS}"
    variant = f"{_variant(spec, listing, found)}; {simulated.describe(spec)}"
    return _split(name, variant, listing, Samples(frames, listing.labels), spec)


def _listing(spec: DatasetSpec) -> Listing:
    if spec.path is None:
        raise DataError(
            "this data set is read from your own files: name with --data PATH a folder or zip that holds "
            "train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg"
        )
    listing = list_files(spec.path, IMAGE_SUFFIXES)
    if spec.split == "published" and not listing.split:
        raise DataError(f"{spec.path}: has no train/ and test/, so no published split; say split: random")
    if spec.split == "random" and listing.split:
        raise DataError(f"{spec.path}: has train/ and test/, a published split; leave out split: random")
    return listing.at_most(spec.max_per_class, spec.seed)


def _split(name: str, variant: str, listing: Listing, samples: Samples, spec: DatasetSpec) -> Dataset:
    if not listing.split:
        return split_samples(name, variant, listing.classes, samples, spec)
    parts = np.array(listing.parts)
    if "val" not in listing.parts:
        return split_samples(name, variant, listing.classes, samples, spec, parts == "test")
    published = "published train/val/test split"
    return split_samples(name, variant, listing.classes, samples, spec, parts == "test", published, parts == "val")


def _variant(spec: DatasetSpec, listing: Listing, found: Decoded) -> str:
    size = f"{spec.channels}x{shown(spec.image_size)}{FITS.get(spec.fit, '')}"
    return "; ".join([size, *listing.notes, *found.notes])
