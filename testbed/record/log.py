"""Reading back what `devices.base.rowlog` wrote, making folders, and replacing whole documents in one step."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from testbed.errors import DiskError, RecordError

RowT = TypeVar("RowT", bound=msgspec.Struct)


def read_rows(path: Path, row_type: type[RowT]) -> Iterator[RowT]:
    """Read a row log back, checked against its schema. A last line without its newline is dropped.

    Raises:
        RecordError: it cannot be read, or a whole line is not a row of that type.
    """
    decoder = msgspec.json.Decoder(row_type)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise RecordError(f"{path}: expected a file")
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise RecordError(f"{path}:{number}: not a {row_type.__name__}: {error}") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


def sync(folder: Path) -> None:
    """Have everything in a folder on the disk itself, so that a power loss takes none of it any more.

    Raises:
        DiskError: the disk does not take it.
    """
    try:
        for path in (*folder.rglob("*"), folder):
            if path.is_file() or path.is_dir():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
    except OSError as error:
        raise DiskError.of(folder, error) from error


def make_folder(folder: Path) -> Path:
    """Make a folder that can be written to, if it is not there; returns it.

    Raises:
        DiskError: it cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DiskError.of(folder, error) from error
    return folder


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part.

    Raises:
        DiskError: it cannot be written; the old content is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise DiskError.of(path, error) from error


def write_json(path: Path, document: Any) -> None:
    """Write a document as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n")
