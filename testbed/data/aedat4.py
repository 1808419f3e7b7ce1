"""AER-DAT 4, the format of DV, by iniVation's description of it and its Flatbuffers schemas (IOHeader, EventPacket).

https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html: a line with the version, a
Flatbuffer that says how packets are compressed and where they end, then packets: a stream's number and a size, and a
Flatbuffer in a frame of LZ4 or Zstandard. An event is 16 bytes: microseconds (64 bits), x and y (16 bits), polarity.
Packets of frames, inertial sensors and triggers are passed over. Flatbuffers are read as their internals are described
(https://flatbuffers.dev/internals): tables with a table of their fields' places before them.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.data.disk import MOST_BYTES, cause, read
from testbed.data.recordings import Recording, in_order
from testbed.errors import DataError

MAGIC = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = (None, "lz4", "lz4", "zstd", "zstd")
"""NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH of the schema, as pyarrow calls them."""

PACKET = struct.Struct("<ii")
EVENTS = b"EVTS"
EVENT = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)
CLOCK_BITS = 63


class _Damaged(Exception):  # noqa: N818  (never leaves this file)
    """A Flatbuffer leads outside itself."""


def read_aedat4(path: Path) -> Recording:
    """Read the events of a recording. An event's place in the file is where its packet begins.

    Raises:
        DataError: it is of another format, cut short, damaged, of several cameras, or holds no events.
    """
    content = read(path)
    if not content.startswith(MAGIC):
        raise DataError(f"{path}: at byte 0 begins no AER-DAT 4.0 recording but {content[:16]!r}")
    start, end, compression = _header(content, path)
    found: list[NDArray[np.int64]] = []
    streams = set()
    while start < end:
        if start + PACKET.size > end:
            raise DataError(f"{path}: the header of a packet is cut short at byte {start}")
        stream, size = PACKET.unpack_from(content, start)
        if size < 0 or start + PACKET.size + size > end:
            raise DataError(
                f"{path}: the packet at byte {start} has {size} bytes, of which {end - start - PACKET.size} are there; "
                "the recording is cut short or damaged"
            )
        body = content[start + PACKET.size : start + PACKET.size + size]
        try:
            events = _events(_unpacked(body, compression))
        except (_Damaged, struct.error, ValueError, OSError) as error:
            raise DataError(f"{path}: the packet at byte {start} is damaged: {cause(error)}") from error
        if events is not None:
            streams.add(stream)
            columns = [events[name].astype(np.int64) for name in ("t", "x", "y", "p")]
            found.append(np.stack([*columns, np.full(len(events), start, dtype=np.int64)]))
        if len(streams) > 1:
            raise DataError(f"{path}: at byte {start} begins a second stream of events; export each camera by itself")
        start += PACKET.size + size
    if not found or not sum(events.shape[1] for events in found):
        raise DataError(f"{path}: holds no events; was it written whole?")
    t, x, y, p, offset = np.concatenate(found, axis=1)
    return in_order((t, x, y, p), CLOCK_BITS, offset)


def _header(content: bytes, path: Path) -> tuple[int, int, str | None]:
    """Where packets begin and end, and how they are compressed."""
    at = len(MAGIC)
    try:
        (size,) = struct.unpack_from("<I", content, at)
        table = _Table(content[at + 4 : at + 4 + size], b"IOHE")
        number = table.value(0, "<i", 0)
        position = table.value(1, "<q", -1)
    except (_Damaged, struct.error) as error:
        raise DataError(f"{path}: the header at byte {at} is cut short or damaged: {cause(error)}") from error
    if not 0 <= number < len(COMPRESSIONS):
        raise DataError(f"{path}: the header at byte {at} names a compression {number} that the format does not have")
    start, end = at + 4 + size, len(content) if position < 0 else position
    if not start <= end <= len(content):
        raise DataError(
            f"{path}: packets lie from byte {start} to {end} of {len(content)}; the recording is cut short or damaged"
        )
    return start, end, COMPRESSIONS[number]


def _unpacked(body: bytes, compression: str | None) -> bytes:
    if compression is None:
        return body
    import pyarrow as pa

    with pa.input_stream(pa.BufferReader(body), compression=compression) as stream:
        data: bytes = stream.read(MOST_BYTES)
    return data


def _events(data: bytes) -> NDArray[np.void] | None:
    """The events of a size-prefixed Flatbuffer; None of another kind of packet."""
    (size,) = struct.unpack_from("<I", data)
    if size + 4 > len(data):
        raise _Damaged(f"{size} bytes are announced, {len(data) - 4} are there")
    if data[8:12] != EVENTS:
        return None
    return _Table(data[4 : 4 + size], EVENTS).vector(0, EVENT)


class _Table:
    """The root table of a Flatbuffer."""

    def __init__(self, data: bytes, kind: bytes) -> None:
        if data[4:8] != kind:
            raise _Damaged(f"expected a Flatbuffer {kind.decode()}, found {data[4:8]!r}")
        self._data = data
        (self._at,) = struct.unpack_from("<I", data)
        self._fields = self._at - self._number("<i", self._at)

    def value(self, field: int, form: str, default: int) -> int:
        """A number of the table."""
        place = self._place(field)
        return default if place is None else self._number(form, place)

    def vector(self, field: int, kind: np.dtype[np.void]) -> NDArray[np.void]:
        """A vector of structs of the table."""
        place = self._place(field)
        if place is None:
            return np.empty(0, kind)
        place += self._number("<I", place)
        count = self._number("<I", place)
        if place + 4 + count * kind.itemsize > len(self._data):
            raise _Damaged(f"{count} events do not fit into {len(self._data)} bytes")
        return np.frombuffer(self._data, kind, count, place + 4)

    def _place(self, field: int) -> int | None:
        if 4 + 2 * field >= self._number("<H", self._fields):
            return None
        inside = self._number("<H", self._fields + 4 + 2 * field)
        return self._at + inside if inside else None

    def _number(self, form: str, place: int) -> int:
        if not 0 <= place <= len(self._data) - struct.calcsize(form):
            raise _Damaged(f"it leads to byte {place} of its {len(self._data)}")
        (number,) = struct.unpack_from(form, self._data, place)
        return int(number)
