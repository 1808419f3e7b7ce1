"""The boundary to the file system: whatever keeps a file of a data set from being read is one line that names it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import DataError

MOST_BYTES = 1 << 30
"""No sample is larger. What is larger is no sample, or a zip made to fill memory."""


def cause(error: BaseException) -> str:
    """What an error says, as one line; its kind where it says nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def one_line(path: object) -> str:
    """A path for a message: a name on disk may hold line breaks and bytes that are no text."""
    return " ".join(str(path).encode("utf-8", "backslashreplace").decode().splitlines())


def unreadable(path: Path, error: OSError) -> DataError:
    """The one message about a file or folder that cannot be read."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        target = one_line(path.readlink())
        return DataError(
            f"{one_line(path)}: is a link to {target}, which is not there; fetch it (git annex get, say) or mount it"
        )
    return DataError(f"{one_line(path)}: cannot be read: {cause(error)}")


def status(path: Path) -> os.stat_result:
    """What the file system says of a file or folder, its links followed.

    Raises:
        DataError: it is not there or may not be looked at.
    """
    try:
        return path.stat()
    except OSError as error:
        raise unreadable(path, error) from error


def either_status(path: Path) -> os.stat_result:
    """What the file system says of a file, or of the link itself where it leads nowhere.

    Raises:
        DataError: neither may be looked at.
    """
    try:
        return path.stat()
    except OSError:
        try:
            return path.lstat()
        except OSError as error:
            raise unreadable(path, error) from error


def exists(path: Path) -> bool:
    """Whether something is there; a link that leads nowhere is not.

    Raises:
        DataError: this cannot be told: a folder above it may not be entered, say.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name on disk has a zero byte
        return False
    except OSError as error:
        raise unreadable(path, error) from error
    return True


def is_folder(path: Path) -> bool:
    """Whether a folder is there, behind a link or not.

    Raises:
        DataError: this cannot be told.
    """
    return exists(path) and stat.S_ISDIR(status(path).st_mode)


def is_file(path: Path) -> bool:
    """Whether a regular file is there, behind a link or not.

    Raises:
        DataError: this cannot be told.
    """
    return exists(path) and stat.S_ISREG(status(path).st_mode)


def sample_status(path: Path) -> os.stat_result:
    """What the file system says of a file that is to be read.

    Raises:
        DataError: it is not there, no regular file (reading a FIFO would wait for ever), or too large for a sample.
    """
    found = status(path)
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{one_line(path)}: is no file but a {_kind(found.st_mode)}; remove it from the data set")
    if found.st_size > MOST_BYTES:
        raise DataError(f"{one_line(path)}: {found.st_size:,} bytes are too many for one sample")
    return found


def read(path: Path) -> bytes:
    """The content of a sample's file.

    Raises:
        DataError: it cannot be read.
    """
    sample_status(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def walk(folder: Path, loops: list[str] | None = None) -> Iterator[str]:
    """The paths in a folder of all that is no folder, links followed, without what file managers leave behind.

    Args:
        folder: to be walked.
        loops: gets the links that lead back to a folder above themselves; they are not followed.

    Raises:
        DataError: a folder cannot be listed.
    """
    top = status(folder)
    todo: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset({(top.st_dev, top.st_ino)}))]
    while todo:
        inside, above = todo.pop()
        try:
            with os.scandir(folder / inside) as entries:
                found = [(entry.name, _is_folder(entry)) for entry in entries if not is_leaving(entry.name)]
        except OSError as error:
            raise unreadable(folder / inside, error) from error
        for name, down in found:
            path = f"{inside}{name}"
            if not down:
                yield path
                continue
            here = status(folder / path)
            if (here.st_dev, here.st_ino) not in above:
                todo.append((f"{path}/", above | {(here.st_dev, here.st_ino)}))
            elif loops is not None:
                loops.append(path)


def is_leaving(name: str) -> bool:
    """Whether macOS or a file manager left this behind."""
    return name.startswith(".") or name == "__MACOSX"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and if it is to be read, that says why it cannot be
        return False


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"
