"""The undo journal of a node: what a run changes there is written down first, and undone whatever happens.

A folder holds one file for each run that changed something, named after nothing a reader must parse. Its first
line says whose it is; each further line is a change that is about to be made, with what undoes it, or the number of
a change that has been undone. Every line is on the disk before what it announces is done, so a torn last line
announces something that was not done. While its run lives, its file is locked (flock, which the kernel lets go
however a process ends): a file that is not locked was left behind, and the next contact undoes it.

Kinds of changes are a dict, kind → `Undo`. One kind and target has one owner at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devices.base.errors import DeviceError
from devices.journalfile import SUFFIX, Change, Header, Undone, append, files, parse, sync_folder


class Undo(NamedTuple):
    """How changes of one kind are undone.

    `function` is given what was noted before the change and puts it back; done twice it does no harm. It reads back
    what it did and raises `DeviceError` where something stays changed. What does not `survive_reboot` is not undone
    after one, since it is gone already.
    """

    function: Callable[[dict[str, Any]], None]
    survives_reboot: bool


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the journal that one run left behind: changes put back, and those that could not be."""

    owner: str
    in_use: bool = False
    restored: list[str] = []
    failed: list[str] = []


class Journal:
    """The changes of one run on this node.

    Nothing is written until something is recorded. `restore` undoes; a process that ends without it leaves the file to
    `restore_left_behind`.
    """

    def __init__(self, folder: Path, owner: str, boot_id: str | None, undos: Mapping[str, Undo]) -> None:
        self._folder, self._owner, self._boot_id, self._undos = folder, owner, boot_id, undos
        self._path: Path | None = None
        self._fd = -1
        self._count = 0

    def record(self, kind: str, target: str, what: str, before: dict[str, Any]) -> None:
        """Note a change that is about to be made; it is on the disk when this returns.

        Args:
            kind: what undoes it.
            target: what is changed, where there are several of a kind.
            what: the change in words, such as `power mode 15W (0) → MAXN (2)`.
            before: what the undo function needs.

        Raises:
            DeviceError: another run has this target, or the journal cannot be written. Do not make the change.
        """
        if kind not in self._undos:
            raise ValueError(f"nothing undoes {kind}")
        change = Change(number=self._count, kind=kind, target=target, what=what, before=before)
        with _locked(self._folder):
            self._refuse_shared(kind, target)
            if self._path is None:
                self._create()
            self._append(change)
        self._count += 1

    def restore(self) -> list[str]:
        """Undo what was recorded, the last change first; returns it in words. More than once does no harm.

        Raises:
            DeviceError: what could not be undone, and why. It stays in the journal.
        """
        if self._path is None:
            return []
        with _locked(self._folder):
            done = _undo_file(self._path, self._fd, self._undos, self._boot_id)
            if not done.failed:
                os.close(self._fd)
                self._path = None
        if done.failed:
            raise DeviceError(left_changed(done))
        return done.restored

    def _create(self) -> None:
        path = self._folder / f"{time.time_ns()}-{os.getpid()}{SUFFIX}"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeviceError(f"{path}: the undo journal cannot be written: {error.strerror}") from error
        self._path = path
        sync_folder(self._folder)
        self._append(Header(owner=self._owner, boot_id=self._boot_id, t_unix=time.time()))

    def _append(self, line: Header | Change | Undone) -> None:
        assert self._path is not None  # noqa: S101  (created above)
        append(self._path, self._fd, line)

    def _refuse_shared(self, kind: str, target: str) -> None:
        for path in files(self._folder):
            if path == self._path:
                continue
            content = parse(path)
            if content.header and any((c.kind, c.target) == (kind, target) for c in content.pending.values()):
                name = f"{kind} {target}".strip()
                raise DeviceError(
                    f"{name} of this machine is changed by another run, {content.header.owner} ({path}); "
                    "wait for its end, or let `testbed check` restore what it left behind"
                )


def restore_left_behind(folder: Path, undos: Mapping[str, Undo], boot_id: str | None) -> list[Restoration]:
    """Undo what runs that are gone left changed; those that live are only named.

    Raises:
        DeviceError: a journal is damaged or cannot be read.
    """
    if not files(folder):
        return []
    found = []
    with _locked(folder):
        for path in files(folder):
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                header = parse(path).header
                found.append(Restoration(owner=header.owner if header else "a run that begins", in_use=True))
            else:
                found.append(_undo_file(path, fd, undos, boot_id))
            finally:
                os.close(fd)
    return [one for one in found if one.in_use or one.restored or one.failed]


def left_changed(done: Restoration) -> str:
    """What to tell about changes that could not be undone."""
    return f"left changed by {done.owner}: " + "; ".join(done.failed)


def _undo_file(path: Path, fd: int, undos: Mapping[str, Undo], boot_id: str | None) -> Restoration:
    """Undo the pending changes of a locked file; without any left it is deleted."""
    content = parse(path)
    # What follows the last whole line announces nothing that was done.
    os.ftruncate(fd, content.whole_bytes)
    owner = content.header.owner if content.header else "a run that changed nothing"
    rebooted = content.header is not None and content.header.boot_id != boot_id
    restored, failed = [], []
    for number in sorted(content.pending, reverse=True):
        change = content.pending[number]
        undo = undos.get(change.kind)
        if undo is None:
            failed.append(f"{change.what}: this testbed knows no {change.kind}; the one that made it undoes it")
            continue
        if rebooted and not undo.survives_reboot:
            restored.append(f"{change.what} (undone by the reboot since)")
        else:
            try:
                undo.function(change.before)
            except DeviceError as error:
                failed.append(f"{change.what}: {error}")
                continue
            restored.append(change.what)
        # Undone twice does no harm, so a disk that is full keeps nothing from being undone.
        with contextlib.suppress(DeviceError):
            append(path, fd, Undone(number=number))
    if not failed:
        path.unlink()
        sync_folder(path.parent)
    return Restoration(owner=owner, restored=restored, failed=failed)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time looks through the folder, begins a journal or restores one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeviceError(
            f"{folder}: the undo journal cannot be kept there: {error.strerror}; let this user write there"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
