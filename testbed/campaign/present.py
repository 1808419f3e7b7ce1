"""What a running campaign is doing, in a file beside its results, so that others can look without asking it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec

from testbed.campaign.run import Observer
from testbed.record.layout import ExperimentFolder


class Now(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a campaign is doing: attempt `number` of `of` that this run makes, its phase and how far that is.

    `since_s` and `attempt_s` are wall-clock times at which the run and the attempt began; `steps` says for each node
    what takes a while there.
    """

    since_s: float
    number: int = 0
    of: int = 0
    title: str = ""
    attempt_s: float = 0.0
    phase: str = ""
    done: int = 0
    total: int = 0
    steps: dict[str, str] = {}


class Present:
    """An observer that writes down what it is told, and tells another one; the file is gone when the run ends.

    The file is replaced in one step and not synced: who reads it sees a whole one, and it costs the run microseconds.
    """

    def __init__(self, shown: Observer, folder: ExperimentFolder) -> None:
        self._shown, self._folder = shown, folder
        self.now = Now(since_s=time.time())
        """What was written last."""

    def __enter__(self) -> Present:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._folder.present.unlink(missing_ok=True)

    def message(self, text: str) -> None:
        """Something worth a line."""
        self._shown.message(text)

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""
        self._shown.attempt(number, of, title)
        self._write(number=number, of=of, title=title, attempt_s=time.time(), phase="", done=0, total=0, steps={})

    def phase(self, name: str, done: int, total: int) -> None:
        """The attempt's present phase and how far it is."""
        self._shown.phase(name, done, total)
        self._write(phase=name, done=int(done), total=int(total))

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """What is being done on a node; without `what` it is over."""
        self._shown.step(node, what, done_bytes, total_bytes)
        if self.now.steps.get(node, "") != what:
            others = {name: doing for name, doing in self.now.steps.items() if name != node}
            self._write(steps=others | ({node: what} if what else {}))

    def _write(self, **changes: object) -> None:
        self.now = msgspec.structs.replace(self.now, **changes)
        part = self._folder.present.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):  # a full disk is the run's to notice
            part.write_bytes(msgspec.json.encode(self.now))
            part.replace(self._folder.present)


def read_now(folder: ExperimentFolder) -> Now | None:
    """What the campaign that holds a folder is doing; None where none holds it, or it has not said yet."""
    if not is_held(folder):
        return None
    try:
        return msgspec.json.decode(folder.present.read_bytes(), type=Now)
    except (OSError, msgspec.MsgspecError):
        return None


def is_held(folder: ExperimentFolder) -> bool:
    """Whether a process holds the folder. The lock is not tried, since a run that begins just then would be refused."""
    try:
        found = folder.lock.stat()
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(words[1:2] == ["FLOCK"] and device in words for words in map(str.split, locks.splitlines()))
