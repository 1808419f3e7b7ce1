"""Prepared data on disk: made once, in a temporary folder, and only then given its name.

A prepared folder is `NAME-HASH`, where the hash is of everything that decides its content. Its `complete.json` is
written last and says what was made from what, with the size and SHA-256 of every file, so that a preparation which
was interrupted never looks finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.errors import DataError
from testbed.record.layout import ResultsFolder
from testbed.record.log import write_json
from testbed.runtime.digest import document_digest, file_digest

MARKER = "complete.json"
ENVIRONMENT = "TESTBED_CACHE"
"""Environment variable that names another folder for prepared data."""

logger = logging.getLogger(__name__)


class Prepared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `complete.json`."""

    made_from: Any
    counts: dict[str, int]
    files: dict[str, tuple[int, str]]
    """Name → (bytes, SHA-256)."""
    seconds: float


def cache_folder() -> Path:
    """Where prepared data lie: `results/data`, or what TESTBED_CACHE names."""
    return Path(os.environ.get(ENVIRONMENT) or ResultsFolder(Path("results")).data)


def prepared(name: str, made_from: Any, make: Callable[[Path], dict[str, int]]) -> Path:
    """The folder of prepared data, made now if it is not there.

    Args:
        name: what it is, for people; becomes part of the folder's name.
        made_from: a JSON-like document of all that decides the content: parameters and the source's digest.
        make: writes the files into an empty folder and returns counts for the marker.

    Raises:
        DataError: what is there is not what was written, or the folder cannot be written.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    target = cache_folder() / f"{plain}-{document_digest(made_from)[:16]}"
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target.with_name(f".{target.name}.lock")):
                if not target.exists():
                    _make(target, made_from, make)
        except OSError as error:
            raise DataError(
                f"{target}: cannot prepare the data there: {error}; {ENVIRONMENT} can name another folder"
            ) from error
    _check(target)
    return target


def counts(folder: Path) -> dict[str, int]:
    """What was counted while a folder was prepared."""
    return msgspec.json.decode((folder / MARKER).read_bytes(), type=Prepared).counts


def said(counted: Mapping[str, int], words: Mapping[str, str]) -> tuple[str, ...]:
    """What a variant says of counts: the number and its words, for each that was met."""
    return tuple(f"{counted[key]} {text}" for key, text in words.items() if counted.get(key))


def new_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new .npy file of uint8, mapped to be filled.

    Raises:
        OSError: the disk has no room for it; a mapped file without its room would kill the process later.
    """
    array: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def mapped(path: Path) -> NDArray[np.uint8]:
    """An array of prepared data, mapped for reading: what is taken from it is copied, the rest stays on disk."""
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _make(target: Path, made_from: Any, make: Callable[[Path], dict[str, int]]) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a preparation that was killed: the lock says that none is running
    part.mkdir()
    started = time.monotonic()
    logger.info("preparing %s, once", target)
    try:
        counts = make(part)
        files = {}
        for path in sorted(path for path in part.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut leaves zeros behind a marker that is on disk
            files[path.relative_to(part).as_posix()] = (path.stat().st_size, file_digest(path))
        seconds = round(time.monotonic() - started, 1)
        write_json(part / MARKER, Prepared(made_from=made_from, counts=counts, files=files, seconds=seconds))
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    logger.info("prepared %s in %.0f s", target, seconds)


def _check(target: Path) -> None:
    """Refuse a folder whose files are not as long as its marker says."""
    try:
        marker = msgspec.json.decode((target / MARKER).read_bytes(), type=Prepared)
        whole = all((target / name).stat().st_size == size for name, (size, _) in marker.files.items())
    except (OSError, msgspec.MsgspecError):
        whole = False
    if not whole:
        raise DataError(f"{target}: this prepared data is not whole any more; delete the folder and start again")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process make something while others (the ranks of a training) wait for it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
