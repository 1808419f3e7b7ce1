"""What an emulated board is doing, told by its worker to the power sampler through a small shared file.

The record is a sequence number, then the running activity, its start, the time already spent in each
activity, and the sum of these: 64-bit words in the machine's own byte order, since both sides are on one
machine.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from devices.base.errors import DeviceError


class Activity(enum.IntEnum):
    """What the board does; one at a time. RADIO: the radio is on while the processor waits."""

    IDLE = 0
    COMPUTE = 1
    RADIO = 2


_ACTIVITIES = tuple(Activity)
_WORD_BYTES = 8
_RECORD = struct.Struct(f"{2 + len(Activity) + 1}Q")
_SIZE = _WORD_BYTES + _RECORD.size
_READ_TIMEOUT_NS = 1_000_000_000


class ActivityRecord(NamedTuple):
    """The counters as they stood when the running activity began, at `since_ns` of the monotonic clock."""

    activity: Activity
    since_ns: int
    totals_ns: tuple[int, ...]

    def totals_at(self, now_ns: int) -> tuple[int, ...]:
        """Cumulative nanoseconds per activity at `now_ns`, which is not before `since_ns`."""
        totals_ns = list(self.totals_ns)
        totals_ns[self.activity] += now_ns - self.since_ns
        return tuple(totals_ns)


class ActivityWriter:
    """Creates the file with the board idle. One thread writes; a change costs a few microseconds.

    Raises:
        DeviceError: the file cannot be made, as on a full disk.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._totals = [0] * len(Activity)
        self._activity = Activity.IDLE
        self._since_ns = clock()
        self._sequence = 0
        # A new file under the name: a reader of an earlier run keeps its own, whole.
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w+b") as file:
                # Real blocks: a hole in a mapped file on a full disk ends its writer with SIGBUS.
                os.posix_fallocate(file.fileno(), 0, _SIZE)
                self._map = mmap.mmap(file.fileno(), _SIZE)
            self._words = memoryview(self._map).cast("Q")
            self._write()
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise DeviceError(f"{path}: cannot be written: {error.strerror}") from error

    def set(self, activity: Activity) -> None:
        """End the running activity now and begin this one."""
        now_ns = self._clock()
        self._totals[self._activity] += now_ns - self._since_ns
        self._activity = activity
        self._since_ns = now_ns
        self._write()

    def close(self) -> None:
        """Leave the board idle and let go of the file; more than once does no harm."""
        if not self._map.closed:
            self.set(Activity.IDLE)
            self._words.release()
            self._map.close()

    def _write(self) -> None:
        words = (self._activity, self._since_ns, *self._totals)
        self._words[0] = self._sequence + 1
        # In one copy; `pack_into` would first put zeros there, whose sum is right.
        self._map[_WORD_BYTES:] = _RECORD.pack(*words, sum(words))
        self._sequence += 2
        self._words[0] = self._sequence


class ActivityReader:
    """Reads what a worker wrote, in another process.

    Raises:
        DeviceError: there is no such record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DeviceError(f"{path}: no activity record to read: {error}") from error
        self._words = memoryview(self._map).cast("Q")

    def read(self) -> ActivityRecord:
        """The latest whole record.

        Raises:
            DeviceError: its writer died while writing it.
        """
        give_up_ns = None
        while True:
            before = self._words[0]
            *words, check = _RECORD.unpack_from(self._map, _WORD_BYTES)
            # The sequence number alone would do where stores become visible in order; Arm may reorder
            # them and Python has no barrier, so the sum decides. Time and counters only grow, so no mix
            # of two records has the sum of either.
            if before % 2 == 0 and self._words[0] == before and sum(words) == check:
                return ActivityRecord(_ACTIVITIES[words[0]], words[1], tuple(words[2:]))
            now_ns = time.monotonic_ns()
            give_up_ns = give_up_ns or now_ns + _READ_TIMEOUT_NS
            if now_ns > give_up_ns:
                raise DeviceError(f"{self.path}: the activity record stays half-written; its worker is gone")
            time.sleep(0)

    def totals(self, now_ns: int) -> tuple[int, ...]:
        """Cumulative nanoseconds per activity up to `now_ns`, the running one included."""
        return self.read().totals_at(now_ns)

    def close(self) -> None:
        """Let go of the file; more than once does no harm."""
        self._words.release()
        self._map.close()
