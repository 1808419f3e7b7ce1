"""Recordings of events cut into frames: counts of events for each pixel, polarity and interval.

SpikingJelly's frame integrator is not used: it raises IndexError where an interval of time holds no event; a test holds
ours to it everywhere else.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.data.recordings import Recording
from testbed.data.size import Size, sides
from testbed.errors import DataError

Parser: TypeAlias = Callable[[Path], Recording]

SAID = {
    "no_pixel": "events left out that are of no pixel",
    "unordered": "recordings with times out of order, put in order",
    "wrapped": "recordings whose clock began anew, taken as going on",
}
"""What the counts of `frame_all` say in a variant."""


def to_frames(
    recording: Recording, sensor: tuple[int, int], frames: int, split_by: Literal["number", "time"], size: Size
) -> NDArray[np.uint8]:
    """Counts of events, uint8 [T, 2, H, W], clipped at 255; channel 0 OFF, channel 1 ON.

    Frames hold equally many events (the last one the remainder) or are equally long in time, as in SpikingJelly's
    `integrate_events_by_fixed_frames_number`. A sensor of other size is reduced by integer division of the
    coordinates, which sums the counts of neighbouring pixels.

    Args:
        recording: its coordinates must lie on the sensor.
        sensor: (height, width) in pixels.
        frames: T.
        split_by: what the frames have in common.
        size: H and W.

    Raises:
        DataError: an event lies beside the sensor.
    """
    height, width = sensor
    rows, columns = sides(size)
    if not len(recording):
        return np.zeros((frames, 2, rows, columns), dtype=np.uint8)
    if recording.x.max() >= width or recording.y.max() >= height or min(recording.x.min(), recording.y.min()) < 0:
        raise DataError(_beside(recording, height, width))
    if split_by == "number":
        frame = np.arange(len(recording)) // max(1, len(recording) // frames)
        if len(recording) < frames:
            frame[:] = frames - 1  # as SpikingJelly: intervals of no event, and the last takes the remainder
    else:
        since = recording.t - recording.t[0]
        frame = since // max(1, int(since[-1]) // frames)
    frame = np.minimum(frame, frames - 1)
    x, y = recording.x * columns // width, recording.y * rows // height
    cell = ((frame * 2 + recording.p) * rows + y) * columns + x
    counts = np.bincount(cell, minlength=frames * 2 * rows * columns)
    return np.minimum(counts, 255).astype(np.uint8).reshape(frames, 2, rows, columns)


def _beside(recording: Recording, height: int, width: int) -> str:
    """What is said of the first event in a file that lies beside the sensor."""
    x, y = recording.x, recording.y
    outside = np.flatnonzero((x >= width) | (y >= height) | (x < 0) | (y < 0))
    first = outside[0] if recording.offset is None else outside[recording.offset[outside].argmin()]
    where = "" if recording.offset is None else f" at byte {recording.offset[first]}"
    return (
        f"{len(outside)} events lie beside a sensor of {height} rows and {width} columns, the first one{where} with "
        f"x={x[first]}, y={y[first]}"
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for one member of an archive at a time: parsers read files by name."""
    with tempfile.TemporaryDirectory(prefix="testbed-recording-") as folder:
        yield Path(folder)


def frame_all(
    members: Iterable[tuple[str, bytes]],
    out: NDArray[np.uint8],
    parse: Parser,
    sensor: tuple[int, int],
    split_by: Literal["number", "time"],
) -> dict[str, int]:
    """Parse recordings one after another into frames [N, T, 2, H, W].

    Returns:
        How many events there were, and of what is in `SAID` how much.

    Raises:
        DataError: a recording is unreadable, named by its member.
    """
    found: Counter[str] = Counter(events=0)
    with scratch_folder() as folder:
        for position, (name, content) in enumerate(members):
            scratch = folder / f"recording{Path(name).suffix}"
            scratch.write_bytes(content)
            try:
                recording = parse(scratch)
                out[position] = to_frames(recording, sensor, out.shape[1], split_by, (out.shape[-2], out.shape[-1]))
            except DataError as error:
                raise DataError(f"{name}: {str(error).removeprefix(f'{scratch}: ')}") from error
            found["events"] += len(recording)
            for key in SAID:
                if count := int(getattr(recording, key)):
                    found[key] += count
    return dict(found)
