"""Recordings laid out as DVS128 Gesture is published (Amir et al., CVPR 2017): one of each person and light.

`trials_to_train.txt` and `trials_to_test.txt` list the recordings. Beside each `NAME.aedat` lies `NAME_labels.csv` with
lines `class,startTime_usec,endTime_usec`, classes from 1, on the recording's own clock: they cut it into samples.
`gesture_mapping.csv`, with lines `action,label`, names the classes where it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from testbed.data.cache import counts, mapped, new_array, prepared, said
from testbed.data.disk import exists, one_line, read
from testbed.data.files import source_digest
from testbed.data.framing import SAID, to_frames
from testbed.data.recordings import Recording
from testbed.data.samples import Dataset, Samples, at_most, split_samples
from testbed.data.size import shown
from testbed.data.spec import DatasetSpec
from testbed.errors import DataError

PARTS = ("train", "test")
LABELS = "_labels.csv"
MAPPING = "gesture_mapping.csv"


@dataclass(frozen=True)
class Gesture:
    """One sample: its start and end (not with it) in µs of its recording's clock, and the csv's line that says so."""

    recording: Path
    part: str
    number: int
    start: int
    end: int
    line: str


def gestures(spec: DatasetSpec, parse: Callable[[Path], Recording], reader: int) -> Dataset:
    """The gestures of a folder, with its published split.

    Args:
        spec: says the folder, the sensor and the frames.
        parse: reads a recording.
        reader: version of what it reads.

    Raises:
        DataError: a file is missing, damaged, or says something else.
    """
    source, sensor, frames_number, split_by = spec.path, spec.sensor, spec.frames, spec.split_by
    if source is None or sensor is None or frames_number is None or split_by is None:
        raise ValueError(f"{spec.name} is no data set of events")
    listed = _at_most([one for part in PARTS for one in _part(source, part)], spec)
    numbers = sorted({one.number for one in listed})
    classes = _names(source, numbers)
    made_from: dict[str, Any] = {
        "recordings": source_digest(source),
        "gestures": [one.line for one in listed],
        "frames": frames_number,
        "split_by": split_by,
        "image_size": spec.image_size,
        "sensor": sensor,
        "unordered": spec.unordered,
        "reader": reader,
    }

    def make(folder: Path) -> dict[str, int]:
        frames = new_array(folder / "frames.npy", (len(listed), frames_number, 2, *spec.size))
        found = dict.fromkeys(SAID, 0)
        for path in dict.fromkeys(one.recording for one in listed):
            recording = parse(path)
            for key in SAID:
                found[key] += int(getattr(recording, key))
            try:
                for place, one in enumerate(listed):
                    if one.recording == path:
                        cut = _cut(recording, one)
                        frames[place] = to_frames(cut, sensor, frames_number, split_by, spec.image_size)
            except DataError as error:
                raise DataError(f"{one_line(path)}: {error}") from error
        return {"gestures": len(listed), **found}

    folder = prepared(f"frames-{source.stem}", made_from, make)
    height, width = sensor
    reduced = "" if sensor == spec.size else f", coordinates divided to {shown(spec.image_size)}"
    form = f"recorded events, {height} rows and {width} columns{reduced}; {frames_number} frames by {split_by}"
    labels = np.array([numbers.index(one.number) for one in listed], dtype=np.int64)
    return split_samples(
        spec.title or source.stem,
        "; ".join([form, "gestures as its csv files cut them", *said(counts(folder), SAID)]),
        classes,
        Samples(mapped(folder / "frames.npy"), labels),
        spec,
        np.array([one.part == "test" for one in listed]),
    )


def _part(source: Path, part: str) -> list[Gesture]:
    trials = source / f"trials_to_{part}.txt"
    found = []
    for number, name in enumerate(_lines(trials), 1):
        recording = source / name
        if not exists(recording):
            raise DataError(f"{one_line(trials)}:{number}: {one_line(recording)} is not there")
        found += _gestures(recording, part)
    return found


def _gestures(recording: Path, part: str) -> list[Gesture]:
    path = recording.with_name(recording.stem + LABELS)
    found = []
    for number, line in enumerate(_lines(path), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if number == 1 and not cells[0].isdecimal():
            continue  # names of the columns
        place = f"{one_line(path)}:{number}"
        if len(cells) != 3 or not all(cell.isdecimal() for cell in cells):
            raise DataError(f"{place}: expected class,startTime_usec,endTime_usec, found {one_line(line[:80])!r}")
        label, start, end = map(int, cells)
        if label < 1 or end <= start:
            raise DataError(f"{place}: expected a class from 1 and an end after its start, found {line!r}")
        found.append(Gesture(recording, part, label, start, end, place))
    if not found:
        raise DataError(f"{one_line(path)}: names no gesture")
    return found


def _at_most(listed: list[Gesture], spec: DatasetSpec) -> list[Gesture]:
    parts = [[one for one in listed if one.part == part] for part in PARTS]
    kept = []
    for part in parts:
        numbers = np.array([one.number for one in part], dtype=np.int64)
        kept += [part[place] for place in at_most(numbers, spec.max_per_class, spec.seed)]
    return kept


def _cut(recording: Recording, one: Gesture) -> Recording:
    first, last = np.searchsorted(recording.t, [one.start, one.end])
    if first == last:
        raise DataError(f"no events from {one.start} to {one.end} µs, as {one.line} has it")
    inside = slice(first, last)
    offset = None if recording.offset is None else recording.offset[inside]
    return Recording(recording.t[inside], recording.x[inside], recording.y[inside], recording.p[inside], offset=offset)


def _names(source: Path, numbers: list[int]) -> tuple[str, ...]:
    names = {}
    if exists(source / MAPPING):
        for number, line in enumerate(_lines(source / MAPPING), 1):
            name, _, label = (cell.strip() for cell in line.partition(","))
            if label.isdecimal() and name:
                names[int(label)] = name
            elif number > 1:
                raise DataError(f"{one_line(source / MAPPING)}:{number}: expected action,label, found {line!r}")
    return tuple(names.get(number, f"gesture {number}") for number in numbers)


def _lines(path: Path) -> list[str]:
    """The lines of a text, without empty ones at the end."""
    try:
        return read(path).decode().rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{one_line(path)}: is no text at byte {error.start}") from error
