"""Whose folder it is: one campaign writes to it at a time, and what is not its own is moved aside, never deleted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from pathlib import Path

from testbed.errors import DiskError, RecordError
from testbed.record.layout import ExperimentFolder


@contextlib.contextmanager
def held(folder: ExperimentFolder) -> Iterator[None]:
    """Hold the folder for this process; the kernel lets go of it however the process ends.

    Raises:
        RecordError: another process holds it.
        DiskError: it cannot be written to.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        opened = folder.lock.open("a+")
    except OSError as error:
        raise DiskError.of(folder.path, error) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise RecordError(f"{folder.path}: another testbed run is writing here ({lock.read().strip()})") from error
        with contextlib.suppress(OSError):  # who it is, for people: a full disk takes the name and leaves the lock
            lock.truncate(0)
            os.write(lock.fileno(), json.dumps({"pid": os.getpid(), "since": time.strftime("%F %T")}).encode())
        yield


def others(folder: ExperimentFolder, planned: Collection[str]) -> list[Path]:
    """The cells of another configuration, code or device than the planned ones."""
    return [cell.path for cell in folder.cells() if cell.path.name not in planned]


def set_aside(folder: ExperimentFolder, planned: Collection[str], *, fresh: bool) -> Path | None:
    """Move what does not belong to a plan out of the way; returns where to, or None where nothing was moved.

    That is cells of another configuration, code or device; `fresh`, it is everything.
    """
    old = others(folder, planned)
    if fresh:
        old = [path for path in folder.path.iterdir() if path not in (folder.lock, folder.previous)]
    if not old:
        return None
    target = folder.previous / datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
    try:
        target.mkdir(parents=True)
        for path in old:
            path.rename(target / path.name)
    except OSError as error:
        raise DiskError.of(target, error) from error
    return target
