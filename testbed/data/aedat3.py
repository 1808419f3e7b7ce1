"""AER-DAT 3.1, the format of cAER and of DVS128 Gesture, by iniVation's description of it.

https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html: a header of lines that begin
with #, then packets of little-endian events of one type each. Polarity events (type 1) are 8 bytes: 15 bits of x, 15
of y, the polarity and a mark that the event is valid; then 31 bits of microseconds, which the packet's header goes on
counting. Packets of other types are passed over. SpikingJelly's load_aedat_v3 reads the same, and a test holds ours to
it; it takes whatever is in the file for a packet.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.data.disk import read
from testbed.data.recordings import Recording, in_order
from testbed.errors import DataError

MAGIC = b"#!AER-DAT3.1"
HEADER_END = b"#!END-HEADER"
PACKET = struct.Struct("<HHIIIIII")
"""Type, source, bytes of an event, offset of the time in it, overflows of the clock, capacity, events, valid events."""

POLARITY = 1
COMPRESSED = 0x8000
POLARITY_BYTES = 8
TIME_BITS = 31
CLOCK_BITS = 63
"""Times of 31 bits with the packets' overflows of 32 bits never begin anew."""


def read_aedat3(path: Path) -> Recording:
    """Read the polarity events of a recording.

    Raises:
        DataError: it is of another format, compressed, cut short, damaged, or holds no events.
    """
    content = read(path)
    start = _after_header(content, path)
    found: list[NDArray[np.int64]] = []
    invalid = 0
    while start < len(content):
        if start + PACKET.size > len(content):
            raise DataError(f"{path}: the header of a packet is cut short at byte {start}")
        kind, _, size, time_at, overflow, capacity, number, _ = PACKET.unpack_from(content, start)
        if kind & COMPRESSED:
            raise DataError(f"{path}: the packet at byte {start} is compressed, which cannot be read here; save it RAW")
        end = start + PACKET.size + size * capacity
        if end > len(content):
            raise DataError(
                f"{path}: the packet at byte {start} has {size * capacity} bytes, of which "
                f"{len(content) - start - PACKET.size} are there; the recording is cut short or damaged"
            )
        if kind == POLARITY:
            if size != POLARITY_BYTES or time_at != 4 or number > capacity:
                raise DataError(f"{path}: the packet at byte {start} is none of polarity events; the file is damaged")
            events = _events(content, start + PACKET.size, number, overflow)
            valid = events[4] == 1
            invalid += int(np.count_nonzero(~valid))
            found.append(events[[0, 1, 2, 3, 5]][:, valid])
        start = end
    if not found or not sum(events.shape[1] for events in found):
        raise DataError(f"{path}: holds no polarity events; was it written whole?")
    t, x, y, p, offset = np.concatenate(found, axis=1)
    return in_order((t, x, y, p), CLOCK_BITS, offset, no_pixel=invalid)


def _events(content: bytes, start: int, number: int, overflow: int) -> NDArray[np.int64]:
    """Rows t, x, y, p, valid and offset, int64 [6, E]."""
    data, t = np.frombuffer(content, "<u4", 2 * number, start).astype(np.int64).reshape(-1, 2).T
    offset = start + POLARITY_BYTES * np.arange(number)
    x, y, p = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1
    return np.stack([t | overflow << TIME_BITS, x, y, p, data & 1, offset])


def _after_header(content: bytes, path: Path) -> int:
    if not content.startswith(MAGIC):
        raise DataError(f"{path}: at byte 0 begins no AER-DAT 3.1 recording but {content[:16]!r}")
    start = 0
    while content.startswith(b"#", start):
        end = content.find(b"\n", start)
        if end < 0:
            break
        if content[start:end].strip() == HEADER_END:
            return end + 1
        start = end + 1
    raise DataError(f"{path}: the header has no {HEADER_END.decode()} up to byte {start}; the recording is damaged")
