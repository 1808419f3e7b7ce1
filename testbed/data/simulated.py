"""Event data sets made from images: simulated recordings are written as files, and read back as recorded ones are."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.data import zips
from testbed.data.cache import mapped, new_array, prepared
from testbed.data.framing import frame_all
from testbed.data.recordings import atis_bytes, read_simulated
from testbed.data.saccades import MODEL_VERSION, simulate
from testbed.data.spec import DatasetSpec, DvsSpec

RECORDINGS = "recordings.zip"
BATCH_PIXELS = 1 << 16
"""Pixels simulated at once: the arrays of a step then stay in the processor's cache."""

WORDS = "simulated events"
"""What the name and the variant of such a data set say."""


def simulated_frames(
    spec: DatasetSpec, images: NDArray[np.uint8], names: Sequence[str], digest: str, title: str
) -> NDArray[np.uint8]:
    """Frames uint8 [N, T, 2, H, W] of simulated recordings of images uint8 [N, H, W], mapped from the prepared data.

    Args:
        spec: sensor, saccades and frames.
        images: luma.
        names: what each image is called; decides its seed, so an image has the same events in every selection.
        digest: of the images.
        title: for the prepared folders' names.
    """
    if spec.dvs is None or spec.frames is None or spec.split_by is None:
        raise ValueError(f"{spec.name} is no data set of simulated events")
    dvs, split_by = spec.dvs, spec.split_by
    made_from = {"images": digest, "dvs": dvs.model_dump(mode="json"), "model": MODEL_VERSION}

    def make_recordings(folder: Path) -> dict[str, int]:
        return _record(folder / RECORDINGS, images, names, dvs)

    recordings = prepared(f"recordings-{title}", made_from, make_recordings)
    shape = (len(images), spec.frames, 2, *spec.size)

    def make_frames(folder: Path) -> dict[str, int]:
        frames = new_array(folder / "frames.npy", shape)
        members = _members(recordings / RECORDINGS, names)
        return {"recordings": len(frames), **frame_all(members, frames, read_simulated, images.shape[1:], split_by)}

    made_from = {"recordings": recordings.name, "frames": spec.frames, "split_by": split_by}
    folder = prepared(f"frames-{title}", made_from, make_frames)
    return mapped(folder / "frames.npy")


def describe(spec: DatasetSpec) -> str:
    """What a variant says of the simulation."""
    dvs = spec.dvs or DvsSpec()
    return (
        f"{WORDS}: three saccades of ±{dvs.saccade_pixels:g} pixels in 300 ms, log-intensity DVS, threshold "
        f"{dvs.threshold:g} ± {dvs.threshold_sigma:g}, refractory {dvs.refractory_us} µs, seed {dvs.seed}; "
        f"{spec.frames} frames by {spec.split_by}"
    )


def _record(path: Path, images: NDArray[np.uint8], names: Sequence[str], dvs: DvsSpec) -> dict[str, int]:
    """Simulate every image and write its recording as a member of a zip."""
    batch = max(1, BATCH_PIXELS // (images.shape[1] * images.shape[2]))
    total = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for start in range(0, len(images), batch):
            some = names[start : start + batch]
            events = simulate(images[start : start + batch], [_seed(dvs.seed, name) for name in some], dvs)
            records = atis_bytes(events.t, events.x, events.y, events.p)
            ends = np.searchsorted(events.recording, np.arange(len(some) + 1))
            for position, name in enumerate(some):
                # A ZipInfo without a date of today: the same images give the same file.
                content = records[ends[position] : ends[position + 1]].tobytes()
                archive.writestr(zipfile.ZipInfo(_member(name)), content)
            total += len(records)
    return {"recordings": len(images), "events": total}


def _members(path: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    with zips.opened(path) as archive:
        for name in names:
            yield f"{path}: {_member(name)}", archive.read(_member(name))


def _member(name: str) -> str:
    return f"{name}.bin"


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")
