"""Recordings of events: reading and writing the formats of N-MNIST and of AER-DAT 2.0.

Events are what SpikingJelly's parsers give: ATIS 40-bit (N-MNIST, N-Caltech101 and our simulated recordings) and
AER-DAT 2.0 (CIFAR10-DVS); a test holds ours to them. What those take on trust is done here as the formats have it:
overflow markers, events that are no pixels, headers that are no UTF-8, clocks that begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.data.disk import read
from testbed.errors import DataError

ATIS_EVENT_BYTES = 5
ATIS_TIME_BITS = 23
MARKER_Y = 240
MARKER_US = 1 << 13
"""A record of this row is no event: it says that so many microseconds are to be added to all times from it on. As the
authors' reader has it (Orchard et al., event-Python, eventvision.read_dataset), and tonic's read_mnist_file."""

AEDAT_EVENT_BYTES = 8
AEDAT_TIME_BITS = 32
AEDAT_HEADER_END = b"#End Of ASCII Header"
AEDAT_PIXEL = 0x7FFF
AEDAT_EXTERNAL = 0x8000
AEDAT_SPECIAL = 0x8000_0000
"""Addresses of a DVS128: its pixels have 15 bits, an event of its IN pin has the 16th (iniVation, AEDAT 1.0 file
format), and jAER's special events the sign. Other bits are of other chips."""

AEDAT_READER = 2
"""Goes up when other events are read from AER-DAT files; 2 leaves out what is no pixel's and reads any header."""


@dataclass(frozen=True)
class Recording:
    """Events of one recording in the order of their times; all arrays int64 [E].

    Attributes:
        t: microseconds.
        x: column.
        y: row.
        p: 1 for ON, 0 for OFF.
        no_pixel: how many events were left out since they are of no pixel.
        unordered: whether times went back in the file.
        wrapped: whether the clock came to its end and began anew.
        offset: byte of each event's record in its file (of a compressed packet, where that begins); None if not of one.
        went_back: the byte of the first event that is earlier than the one before it; None where none is.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64]
    no_pixel: int = 0
    unordered: bool = False
    wrapped: bool = False
    offset: NDArray[np.int64] | None = None
    went_back: int | None = None

    def __len__(self) -> int:
        return len(self.t)


Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def read_atis(path: Path) -> Recording:
    """Read a recording of N-MNIST or N-Caltech101: 40-bit events, with overflow markers among them.

    Raises:
        DataError: it is cut short or empty.
    """
    t, x, y, p = _atis_columns(path)
    offset = ATIS_EVENT_BYTES * np.arange(len(t))
    marker = y == MARKER_Y
    if marker.any():
        t = t + MARKER_US * np.cumsum(marker)
        t, x, y, p, offset = t[~marker], x[~marker], y[~marker], p[~marker], offset[~marker]
    if not len(t):
        raise DataError(f"{path}: holds no events; was it written whole?")
    return in_order((t, x, y, p), ATIS_TIME_BITS, offset)


def read_simulated(path: Path) -> Recording:
    """Read a simulated recording: 40-bit events without markers, so that its sensor may have 256 rows.

    Raises:
        DataError: it is cut short.
    """
    columns = _atis_columns(path)
    return in_order(columns, ATIS_TIME_BITS, ATIS_EVENT_BYTES * np.arange(len(columns[0])))


def _atis_columns(path: Path) -> Columns:
    content = read(path)
    if len(content) % ATIS_EVENT_BYTES:
        raise DataError(
            f"{path}: {len(content)} bytes are no whole number of 40-bit events; the recording is cut short at byte "
            f"{len(content) // ATIS_EVENT_BYTES * ATIS_EVENT_BYTES}"
        )
    columns = np.frombuffer(content, np.uint8).reshape(-1, ATIS_EVENT_BYTES).astype(np.int64).T
    t = (columns[2] & 127) << 16 | columns[3] << 8 | columns[4]
    return t, columns[0], columns[1], columns[2] >> 7


def read_aedat(path: Path) -> Recording:
    """Read a DVS128 recording in AER-DAT 2.0, oriented and signed as SpikingJelly's CIFAR10DVS has it.

    Raises:
        DataError: it is of another version or sensor, cut short, or holds no events.
    """
    address, t, offset, chip = aedat_events(read(path), path)
    pixel = address <= AEDAT_PIXEL
    strange = (address > AEDAT_EXTERNAL | AEDAT_PIXEL) & (address < AEDAT_SPECIAL)
    if np.count_nonzero(strange) > np.count_nonzero(pixel):
        raise DataError(f"{path}: most addresses are beyond the pixels of a DVS128; recorded by another chip ({chip})?")
    if not pixel.any():
        raise DataError(f"{path}: holds no events of pixels; was it written whole?")
    address, t, offset = address[pixel], t[pixel], offset[pixel]
    # The sensor counts rows and columns from the other corner, turned, and sets the last bit for OFF.
    x, y, p = 127 - (address >> 8 & 127), 127 - (address >> 1 & 127), 1 - (address & 1)
    return in_order((t, x, y, p), AEDAT_TIME_BITS, offset, no_pixel=int(np.count_nonzero(~pixel)))


def aedat_events(content: bytes, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], str]:
    """Addresses and times of an AER-DAT 2.0 file, where each is in it (int64 [E] each), and the chip that it names.

    Raises:
        DataError: it is of another version, or cut short.
    """
    if not content.startswith(b"#!AER-DAT2.0"):
        raise DataError(f"{path}: not an AER-DAT 2.0 recording: at byte 0 it begins with {content[:16]!r}")
    start, chip = _after_header(content, path)
    if (len(content) - start) % AEDAT_EVENT_BYTES:
        raise DataError(
            f"{path}: {len(content) - start} bytes after the header are no whole number of 64-bit events; the "
            f"recording is cut short at byte {len(content) - (len(content) - start) % AEDAT_EVENT_BYTES}"
        )
    address, t = np.frombuffer(content, ">u4", offset=start).astype(np.int64).reshape(-1, 2).T
    return address, t, start + AEDAT_EVENT_BYTES * np.arange(len(t)), chip


def _after_header(content: bytes, path: Path) -> tuple[int, str]:
    """Where the events begin, and the chip that the header names: lines of any bytes, each from # to its line feed."""
    start, chip = 0, "its header names none"
    while content.startswith(b"#", start):
        end = content.find(b"\n", start)
        if end < 0:
            raise DataError(f"{path}: its header does not end: cut short in the line at byte {start}")
        line = content[start:end].strip()
        start = end + 1
        if line.startswith(b"# AEChip:"):
            chip = line.partition(b":")[2].decode("latin-1").strip()
        if line == AEDAT_HEADER_END:
            break
    return start, chip


def in_order(columns: Columns, time_bits: int, offset: NDArray[np.int64], no_pixel: int = 0) -> Recording:
    """Events as a file has them (t, x, y, p), in the order of their times.

    Args:
        columns: int64 [E] each.
        time_bits: of the clock, which begins anew after them.
        offset: int64 [E], where each is in the file.
        no_pixel: how many were left out since they are of no pixel.
    """
    t, x, y, p = columns
    went_on = _unwrapped(t, time_bits)
    wrapped = went_on is not t
    back = np.flatnonzero(np.diff(went_on) < 0)
    if not len(back):
        return Recording(went_on, x, y, p, no_pixel, False, wrapped, offset)
    order = np.argsort(went_on, kind="stable")
    first = int(offset[back[0] + 1])
    return Recording(went_on[order], x[order], y[order], p[order], no_pixel, True, wrapped, offset[order], first)


def _unwrapped(t: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Times of a clock that begins anew after so many bits, as one that goes on; the same array where it never does.

    A step back by more than half the clock's range is its end. An event from before the end may still follow.
    """
    steps = np.diff(t)
    if not (steps < -(1 << bits - 1)).any():
        return t
    turns = np.zeros(len(t), dtype=np.int64)
    turn = 0
    for position in np.flatnonzero(np.abs(steps) > 1 << bits - 1):
        turn = turn + 1 if steps[position] < 0 else max(0, turn - 1)
        turns[position + 1 :] = turn
    return t + (turns << bits)


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
