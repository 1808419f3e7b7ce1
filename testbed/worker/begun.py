"""Which request runs, on disk before it does: an edge that is killed and started again ends it in a row."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from devices.base.errors import DeviceError
from testbed.errors import WorkerError
from testbed.record.schema import RequestRow

_NOTE = struct.Struct("<QQqq")
_AS_BEGUN = -1


class Note(NamedTuple):
    """A request that has begun: its id, its sample, and when, in ns of the node's monotonic clock.

    `arrival_ns` is when it arrived; None where that is when it began.
    """

    request: int
    sample: int
    t_ns: int
    arrival_ns: int | None = None


class Begun:
    """The note of the running request in one small file; a write costs a few microseconds.

    Raises:
        DeviceError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DeviceError(f"{path}: cannot be written: {error.strerror}") from error

    def note(self, request: int, sample: int, arrival_ns: int | None = None) -> None:
        """The request begins now."""
        arrived_ns = _AS_BEGUN if arrival_ns is None else arrival_ns
        os.pwrite(self._fd, _NOTE.pack(request, sample, time.monotonic_ns(), arrived_ns), 0)

    def last(self) -> Note | None:
        """The request that began last; None where none did."""
        data = os.pread(self._fd, _NOTE.size, 0)
        if len(data) != _NOTE.size:
            return None
        request, sample, t_ns, arrived_ns = _NOTE.unpack(data)
        return Note(request, sample, t_ns, None if arrived_ns == _AS_BEGUN else arrived_ns)

    def close(self) -> None:
        """Let go of the file, and remove it; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._path.unlink(missing_ok=True)
            self._fd = -1


def recorded(path: Path) -> list[int]:
    """Ids of the requests whose rows a log holds, in their order; what is left of a cut last row is removed.

    Raises:
        WorkerError: the log cannot be read.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        return [row.request_id for row in msgspec.json.Decoder(_Id).decode_lines(whole)]
    except (OSError, msgspec.MsgspecError) as error:
        raise WorkerError(f"{path}: what was recorded before cannot be read: {error}") from error


class _Id(msgspec.Struct):
    request_id: int


def lost_row(note: Note, *, node: str, repeat: int, label: int) -> RequestRow:
    """The row of a request that ended with the edge."""
    now_ns = time.monotonic_ns()
    arrived_ns = note.t_ns if note.arrival_ns is None else note.arrival_ns
    return RequestRow(
        request_id=note.request,
        node=node,
        sample_index=note.sample,
        repeat=repeat,
        label=label,
        prediction=None,
        outcome="error",
        reason="the edge was killed while this request ran",
        exit_timestep=None,
        t_arrival_ns=note.arrival_ns,
        t_start_ns=note.t_ns,
        t_end_ns=now_ns,
        latency_ms=(now_ns - arrived_ns) / 1e6,
        queue_ms=None if note.arrival_ns is None else (note.t_ns - note.arrival_ns) / 1e6,
        edge_compute_ms=0.0,
        encode_ms=0.0,
        network_ms=0.0,
        cloud_compute_ms=0.0,
        payload_up_bytes=0,
        payload_down_bytes=0,
        wire_up_bytes=None,
        wire_down_bytes=None,
    )
