"""What an emulated board is doing, told by its worker to the power sampler through a small shared file.

The record is a sequence number, then the running activity, since when and until when, and the time already spent in
each activity; what the radio has taken, since when it draws how much, and until when; and a checksum of these. All are
64-bit words in the machine's own byte order, since both sides are on one machine.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from devices.base.errors import DeviceError


class Activity(enum.IntEnum):
    """What the processor does; the radio is beside it."""

    IDLE = 0
    CPU = 1
    GPU = 2


_ACTIVITIES = tuple(Activity)
_WORD_BYTES = 8
_PROCESSOR_WORDS = 3 + len(Activity)
_RADIO_WORDS = 4
_WORDS = struct.Struct(f"{_PROCESSOR_WORDS + _RADIO_WORDS}Q")
_CHECK = struct.Struct("Q")
_SIZE = _WORD_BYTES + _WORDS.size + _CHECK.size
_NEVER_NS = 2**63
_READ_TIMEOUT_NS = 1_000_000_000


class RadioRecord(NamedTuple):
    """What the radio had taken by `since_ns` of the monotonic clock, and what it draws from then until `until_ns`."""

    taken_nj: int = 0
    since_ns: int = 0
    draws_uw: int = 0
    until_ns: int = 0

    def taken_at(self, now_ns: int) -> int:
        """Cumulative energy at `now_ns`, which is not before `since_ns`, in nJ."""
        return self.taken_nj + self.draws_uw * (min(now_ns, self.until_ns) - self.since_ns) // 1_000_000


class ActivityRecord(NamedTuple):
    """The counters as they stood when the running activity began, at `since_ns` of the monotonic clock.

    It ends by itself at `until_ns`, and the processor is idle from then on.
    """

    activity: Activity
    since_ns: int
    until_ns: int
    totals_ns: tuple[int, ...]
    radio: RadioRecord

    def totals_at(self, now_ns: int) -> tuple[int, ...]:
        """Cumulative nanoseconds per activity at `now_ns`, which is not before `since_ns`."""
        totals_ns = list(self.totals_ns)
        end_ns = min(now_ns, self.until_ns)
        totals_ns[self.activity] += end_ns - self.since_ns
        totals_ns[Activity.IDLE] += now_ns - end_ns
        return tuple(totals_ns)


class ActivityWriter:
    """Creates the file with the board idle and its radio off. One thread writes; a change costs a few microseconds.

    Raises:
        DeviceError: the file cannot be made, as on a full disk.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        now_ns = clock()
        radio = RadioRecord(since_ns=now_ns, until_ns=now_ns)
        self._record = self._before = ActivityRecord(Activity.IDLE, now_ns, _NEVER_NS, (0,) * len(Activity), radio)
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

    def set(self, activity: Activity, since_ns: int | None = None, until_ns: int | None = None) -> None:
        """End the running activity and begin this one.

        Args:
            activity: What the processor does.
            since_ns: Since when, now if it is not said. Where that is before the running activity began, the running
                one never was; further back than the one before that it does not reach.
            until_ns: When it ends by itself; None: when another begins.
        """
        since_ns = self._clock() if since_ns is None else since_ns
        if since_ns >= self._record.since_ns:
            self._before = self._record
        before = self._before
        since_ns = max(since_ns, before.since_ns)
        until_ns = _NEVER_NS if until_ns is None else max(until_ns, since_ns)
        self._record = ActivityRecord(activity, since_ns, until_ns, before.totals_at(since_ns), self._record.radio)
        self._write()

    def draw(self, radio_uw: int, for_ns: int | None = None, taken_nj: int = 0) -> None:
        """Have the radio draw so much from now on, for so long (None: until told otherwise).

        `taken_nj` is what it took beside what it drew since the last call.
        """
        now_ns = self._clock()
        taken_nj += self._record.radio.taken_at(now_ns)
        radio = RadioRecord(taken_nj, now_ns, radio_uw, _NEVER_NS if for_ns is None else now_ns + for_ns)
        self._record = self._record._replace(radio=radio)
        self._write()

    def close(self) -> None:
        """Leave the board idle, its radio off, and let go of the file; more than once does no harm."""
        if not self._map.closed:
            self.draw(0)
            self.set(Activity.IDLE)
            self._words.release()
            self._map.close()

    def _write(self) -> None:
        activity, since_ns, until_ns, totals_ns, radio = self._record
        words = _WORDS.pack(activity, since_ns, until_ns, *totals_ns, *radio)
        self._words[0] = self._sequence + 1
        self._map[_WORD_BYTES:] = words + _CHECK.pack(zlib.crc32(words))
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
            data = self._map[_WORD_BYTES:]
            # The sequence number alone would do where stores become visible in order; Arm may reorder
            # them and Python has no barrier, so the checksum decides.
            words, (check,) = data[: _WORDS.size], _CHECK.unpack_from(data, _WORDS.size)
            if before % 2 == 0 and self._words[0] == before and zlib.crc32(words) == check:
                activity, since_ns, until_ns, *others = _WORDS.unpack(words)
                totals_ns, radio = tuple(others[: len(Activity)]), RadioRecord(*others[len(Activity) :])
                return ActivityRecord(_ACTIVITIES[activity], since_ns, until_ns, totals_ns, radio)
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
