"""Folders of recorded events of one's own: a folder for each class, or laid out as DVS128 Gesture is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from testbed.data.aedat3 import MAGIC as MAGIC_3
from testbed.data.aedat3 import read_aedat3
from testbed.data.aedat4 import MAGIC as MAGIC_4
from testbed.data.aedat4 import read_aedat4
from testbed.data.cache import counts, mapped, new_array, prepared, said
from testbed.data.davis import read_aedat2
from testbed.data.disk import read
from testbed.data.files import Listing, contents, list_files
from testbed.data.framing import SAID, frame_all
from testbed.data.gesture import gestures
from testbed.data.recordings import AEDAT_READER, Recording, read_atis
from testbed.data.samples import Dataset, Samples, split_samples
from testbed.data.size import shown
from testbed.data.spec import DatasetSpec
from testbed.errors import DataError

SUFFIXES = (".bin", ".aedat", ".aedat4")
READER = 1
"""Goes up when other events are read from files of these formats."""


def event_folder(spec: DatasetSpec) -> Dataset:
    """Recordings as `CLASS/FILE`, or as `train/CLASS/FILE` and `test/CLASS/FILE`, in a folder or a zip; or gestures.

    Files of N-MNIST and N-Caltech101 end in .bin; what begins with #!AER-DAT2.0, 3.1 or 4.0 is read as that.

    Raises:
        DataError: a recording is cut short, damaged, of another format or sensor, or its times go back.
    """
    if spec.path is None or spec.sensor is None or spec.frames is None or spec.split_by is None:
        raise DataError(
            "an event folder is read from your own files: name with --data PATH a folder or zip that holds "
            "CLASS/*.bin, CLASS/*.aedat or CLASS/*.aedat4"
        )
    if spec.layout == "dvs128_gesture":
        return gestures(spec, _strictly(spec, read_recording), READER)
    listing = _listing(spec, spec.path)
    made_from: dict[str, Any] = {
        "recordings": listing.digest,
        "frames": spec.frames,
        "split_by": spec.split_by,
        "image_size": spec.image_size,
        "sensor": spec.sensor,
        "unordered": spec.unordered,
        "reader": [READER, AEDAT_READER],
    }
    sensor, split_by, parse = spec.sensor, spec.split_by, _strictly(spec, read_recording)
    shape = (len(listing), spec.frames, 2, *spec.size)

    def make(folder: Path) -> dict[str, int]:
        frames = new_array(folder / "frames.npy", shape)
        return {"recordings": len(frames), **frame_all(contents(listing), frames, parse, sensor, split_by)}

    folder = prepared(f"frames-{listing.source.stem}", made_from, make)
    variant = "; ".join([form(spec), *listing.notes, *said(counts(folder), SAID)])
    samples = Samples(mapped(folder / "frames.npy"), listing.labels)
    name = spec.title or listing.source.stem
    if not listing.split:
        return split_samples(name, variant, listing.classes, samples, spec)
    parts = np.array(listing.parts)
    validation = parts == "val" if "val" in listing.parts else None
    published = f"published train/{'' if validation is None else 'val/'}test split"
    return split_samples(name, variant, listing.classes, samples, spec, parts == "test", published, validation)


def form(spec: DatasetSpec) -> str:
    """What a variant says of recordings and how they are cut."""
    height, width = spec.sensor or (0, 0)
    reduced = "" if spec.sensor == spec.size else f", coordinates divided to {shown(spec.image_size)}"
    return f"recorded events, {height} rows and {width} columns{reduced}; {spec.frames} frames by {spec.split_by}"


def read_recording(path: Path) -> Recording:
    """A recording of any of the formats, told by its first bytes; what ends in .bin has none that tell it.

    Raises:
        DataError: it is damaged, or of a version that is not read.
    """
    beginning = read(path)[: len(MAGIC_4)]
    if beginning.startswith(MAGIC_3):
        return read_aedat3(path)
    if beginning.startswith(MAGIC_4):
        return read_aedat4(path)
    return read_atis(path) if path.suffix.lower() == ".bin" else read_aedat2(path)


def _strictly(spec: DatasetSpec, parse: Callable[[Path], Recording]) -> Callable[[Path], Recording]:
    """A parser that refuses times that go back, but where the recipe has them sorted."""

    def parsed(path: Path) -> Recording:
        recording = parse(path)
        if recording.unordered and spec.unordered == "refuse":
            raise DataError(
                f"{path}: at byte {recording.went_back} the time goes back; dataset.unordered: sort puts such "
                "recordings in order"
            )
        return recording

    return parsed


def _listing(spec: DatasetSpec, source: Path) -> Listing:
    listing = list_files(source, SUFFIXES)
    if spec.split == "published" and not listing.split:
        raise DataError(f"{source}: has no train/ and test/, so no published split; say split: random")
    if spec.split == "random" and listing.split:
        raise DataError(f"{source}: has train/ and test/, a published split; leave out split: random")
    return listing.at_most(spec.max_per_class, spec.seed)
