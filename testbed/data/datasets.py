"""Data sets behind one interface: `load` gives arrays, split into train, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed.data import caltech101, cifar10, eventfolder, own, recorded, stills
from testbed.data.files import source_digest as files_digest
from testbed.data.samples import Dataset, Samples
from testbed.data.spec import DatasetSpec

__all__ = ["Dataset", "DatasetSpec", "Samples", "load", "source_digest"]

LOADERS: dict[str, Callable[[DatasetSpec], Dataset]] = {
    "digits": stills.digits,
    "digits_dvs": stills.digits_dvs,
    "image_folder": stills.image_folder,
    "image_folder_dvs": stills.image_folder_dvs,
    "cifar10": cifar10.cifar10,
    "caltech101": caltech101.caltech101,
    "cifar10_dvs": recorded.cifar10_dvs,
    "n_caltech101": recorded.n_caltech101,
    "event_folder": eventfolder.event_folder,
    "import": own.own,
}

NEEDS_NO_FILES = ("digits", "digits_dvs", "import")
"""Data sets that may do without --data; of data of one's own only their function knows."""


def load(spec: DatasetSpec, data: Path | None = None) -> Dataset:
    """Load the data set that a recipe names; `data` overrides where its files lie.

    Raises:
        DataError: the files are missing, damaged, or not laid out as the data set is.
    """
    return LOADERS[spec.name](spec if data is None else spec.model_copy(update={"path": data}))


def source_digest(spec: DatasetSpec, data: Path | None = None) -> str | None:
    """What tells one source of a data set from another: names, sizes and times of its files; None where it needs none.

    Raises:
        DataError: there is no such source.
    """
    path = data or spec.path
    return None if path is None or spec.name.startswith("digits") else files_digest(path)
