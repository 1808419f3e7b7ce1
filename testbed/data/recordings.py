"""Recordings of events: reading and writing their file formats, and cutting them into frames.

Files are parsed by SpikingJelly's functions: ATIS 40-bit (N-MNIST, N-Caltech101 and our simulated recordings) and
AER-DAT 2.0 (CIFAR10-DVS). What those take on trust is checked here. SpikingJelly's frame integrator is not used: it
raises IndexError where an interval of time holds no event; a test holds ours to it everywhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from testbed.errors import DataError

ATIS_EVENT_BYTES = 5
ATIS_TIME_BITS = 23


@dataclass(frozen=True)
class Recording:
    """Events of one recording in the order of their times; all arrays int64 [E].

    Attributes:
        t: microseconds.
        x: column.
        y: row.
        p: 1 for ON, 0 for OFF.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.t)


Parser = Callable[[Path], Recording]


def read_atis(path: Path) -> Recording:
    """Read a recording of 40-bit ATIS events (N-MNIST, N-Caltech101).

    Raises:
        DataError: it is cut short.
    """
    from spikingjelly.datasets import load_ATIS_bin

    if (size := path.stat().st_size) % ATIS_EVENT_BYTES:
        raise DataError(f"{path}: {size} bytes are no whole number of 40-bit events; the recording is cut short")
    return _in_order(load_ATIS_bin(path))


def read_aedat(path: Path) -> Recording:
    """Read a DVS128 recording in AER-DAT 2.0, oriented and signed as SpikingJelly's CIFAR10DVS has it.

    Raises:
        DataError: it is of another version, or cut short.
    """
    # CIFAR10DVS itself reaches this parser only by way of its own folders: it downloads unasked, deletes a file whose
    # checksum is wrong, and keeps float64 frames (26 GB for 10 frames).
    from spikingjelly.datasets import cifar10_dvs

    with path.open("rb") as file:
        if not (first := file.readline(64)).startswith(b"#!AER-DAT2.0"):
            raise DataError(f"{path}: not an AER-DAT 2.0 recording (it begins with {first[:16]!r})")
    try:
        events = cifar10_dvs._load_origin_data(path)  # noqa: SLF001  (SpikingJelly has no public name for it)
    except ValueError as error:
        raise DataError(f"{path}: no whole number of 64-bit events; the recording is cut short: {error}") from error
    return _in_order(events)


def _in_order(events: dict[str, NDArray[np.generic]]) -> Recording:
    t, x, y, p = (events[key].astype(np.int64) for key in ("t", "x", "y", "p"))
    if (np.diff(t) < 0).any():
        order = np.argsort(t, kind="stable")
        t, x, y, p = t[order], x[order], y[order], p[order]
    return Recording(t, x, y, p)


def atis_bytes(
    t: NDArray[np.integer], x: NDArray[np.integer], y: NDArray[np.integer], p: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Events as 40-bit ATIS records, uint8 [E, 5]: x, y, then polarity (1 bit) and microseconds (23 bits), big-endian.

    Raises:
        DataError: a coordinate or a time does not fit.
    """
    if len(t) and (t.max() >> ATIS_TIME_BITS or max(x.max(), y.max()) > 255 or min(t.min(), x.min(), y.min()) < 0):
        raise DataError("events do not fit the 40-bit format: 8-bit coordinates, 23-bit microseconds")
    records = np.empty((len(t), ATIS_EVENT_BYTES), dtype=np.uint8)
    records[:, 0], records[:, 1] = x, y
    records[:, 2] = (p.astype(np.int64) << 7) | (t >> 16)
    records[:, 3], records[:, 4] = t >> 8 & 255, t & 255
    return records


def to_frames(
    recording: Recording, sensor: tuple[int, int], frames: int, split_by: Literal["number", "time"], image_size: int
) -> NDArray[np.uint8]:
    """Counts of events, uint8 [T, 2, S, S], clipped at 255; channel 0 OFF, channel 1 ON.

    Frames hold equally many events (the last one the remainder) or are equally long in time, as in SpikingJelly's
    `integrate_events_by_fixed_frames_number`. A sensor of other size is reduced by integer division of the
    coordinates, which sums the counts of neighbouring pixels.

    Args:
        recording: its coordinates must lie on the sensor.
        sensor: (height, width) in pixels.
        frames: T.
        split_by: what the frames have in common.
        image_size: S.

    Raises:
        DataError: an event lies beside the sensor.
    """
    height, width = sensor
    if not len(recording):
        return np.zeros((frames, 2, image_size, image_size), dtype=np.uint8)
    if recording.x.max() >= width or recording.y.max() >= height or min(recording.x.min(), recording.y.min()) < 0:
        raise DataError(
            f"events lie at up to x={recording.x.max()}, y={recording.y.max()}, "
            f"beside a sensor of {width}x{height} pixels"
        )
    if split_by == "number":
        frame = np.arange(len(recording)) // max(1, len(recording) // frames)
        if len(recording) < frames:
            frame[:] = frames - 1  # as SpikingJelly: intervals of no event, and the last takes the remainder
    else:
        since = recording.t - recording.t[0]
        frame = since // max(1, int(since[-1]) // frames)
    frame = np.minimum(frame, frames - 1)
    x, y = recording.x * image_size // width, recording.y * image_size // height
    cell = ((frame * 2 + recording.p) * image_size + y) * image_size + x
    counts = np.bincount(cell, minlength=frames * 2 * image_size * image_size)
    return np.minimum(counts, 255).astype(np.uint8).reshape(frames, 2, image_size, image_size)


@contextmanager
def scratch_file() -> Iterator[Path]:
    """A file for one member of an archive at a time: SpikingJelly's parsers read files by name."""
    with tempfile.TemporaryDirectory(prefix="testbed-recording-") as folder:
        yield Path(folder) / "recording"


def frame_all(
    members: Iterable[tuple[str, bytes]],
    out: NDArray[np.uint8],
    parse: Parser,
    sensor: tuple[int, int],
    split_by: Literal["number", "time"],
) -> int:
    """Parse recordings one after another into frames [N, T, 2, S, S].

    Returns:
        How many events there were.

    Raises:
        DataError: a recording is unreadable, named by its member.
    """
    total = 0
    with scratch_file() as scratch:
        for position, (name, content) in enumerate(members):
            scratch.write_bytes(content)
            try:
                recording = parse(scratch)
                out[position] = to_frames(recording, sensor, out.shape[1], split_by, out.shape[-1])
            except DataError as error:
                raise DataError(f"{name}: {str(error).removeprefix(f'{scratch}: ')}") from error
            total += len(recording)
    return total
