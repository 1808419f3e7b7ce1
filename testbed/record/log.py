"""Append-only row logs: what a worker has written survives whatever ends it.

One JSON object a line. A line is handed to the kernel in one write, so a killed process loses
nothing it had recorded; a line cut short by a full disk or a power loss is the last one and is dropped on reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from testbed.errors import RecordError

RowT = TypeVar("RowT", bound=msgspec.Struct)


class RowLog:
    """Appends rows to one file. `append` reaches the kernel before it returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._encoder = msgspec.json.Encoder()

    def append(self, *rows: msgspec.Struct) -> None:
        """Append rows in one write.

        Raises:
            RecordError: the disk took less than all of it.
        """
        data = b"".join(self._encoder.encode(row) + b"\n" for row in rows)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot record: {error.strerror}") from error
        if written != len(data):
            raise RecordError(f"{self.path}: only {written} of {len(data)} bytes were recorded; is the disk full?")

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> RowLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_rows(path: Path, row_type: type[RowT]) -> Iterator[RowT]:
    """Read a row log back, checked against its schema. A last line without its newline is dropped.

    Raises:
        RecordError: a whole line is not a row of that type.
    """
    decoder = msgspec.json.Decoder(row_type)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise RecordError(f"{path}:{number}: not a {row_type.__name__}: {error}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, document: Any) -> None:
    """Write a document as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n")
