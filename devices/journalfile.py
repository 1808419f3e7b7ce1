"""The file of one run's changes: lines, each whole on the disk before what it announces is done."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from devices.base.errors import DeviceError

SUFFIX = ".journal"


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="journal"):
    """The first line: whose changes these are, and in which boot of the machine."""

    owner: str
    boot_id: str | None
    t_unix: float


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="change"):
    """A change that is about to be made, with what undoes it."""

    number: int
    kind: str
    target: str
    what: str
    before: dict[str, Any]


class Undone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="undone"):
    """A change that has been undone."""

    number: int


_LINE = msgspec.json.Decoder(Header | Change | Undone)


@dataclass
class Content:
    """What a file says; what follows the last of the `whole_bytes` announces nothing that was done."""

    header: Header | None = None
    pending: dict[int, Change] = field(default_factory=dict)
    whole_bytes: int = 0


def parse(path: Path) -> Content:
    """The content of a file.

    Raises:
        DeviceError: it cannot be read, or a whole line is damaged.
    """
    content = Content()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path}: the undo journal cannot be read: {error.strerror}") from error
    content.whole_bytes = data.rfind(b"\n") + 1
    for index, raw in enumerate(data[: content.whole_bytes].splitlines(), 1):
        try:
            line = _LINE.decode(raw)
        except msgspec.MsgspecError as error:
            raise DeviceError(
                f"{path}:{index}: the undo journal is damaged: {error}; compare the machine's settings with what the "
                "file names, then delete it"
            ) from error
        if isinstance(line, Header):
            content.header = line
        elif isinstance(line, Change):
            content.pending[line.number] = line
        else:
            content.pending.pop(line.number, None)
    return content


def append(path: Path, fd: int, line: Header | Change | Undone) -> None:
    """Write a line; it is on the disk when this returns.

    Raises:
        DeviceError: it could not be written, and the file is as it was.
    """
    data = msgspec.json.encode(line) + b"\n"
    try:
        before = os.fstat(fd).st_size
        written = os.write(fd, data)
        if written != len(data):
            os.ftruncate(fd, before)
            raise DeviceError(f"{path}: the undo journal cannot be written: is the disk full?")
        os.fsync(fd)
    except OSError as error:
        raise DeviceError(f"{path}: the undo journal cannot be written: {error.strerror}") from error


def files(folder: Path) -> list[Path]:
    """The journals in a folder, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk."""
    # A new name is on the disk once its folder is.
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
