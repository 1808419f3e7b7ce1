"""A program that prints power line by line: started, each line stamped on arrival, watched, ended with its sampler."""

from __future__ import annotations

import contextlib
import enum
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from devices.base.errors import DeviceError

STALL_INTERVALS = 10
STALL_MIN_S = 2.0
"""A silence of so many intervals, and at least so long, is a stall. Shorter ones are gaps between samples."""

START_S = 5.0
"""How long a program may take to start, before the interval to its first line."""

_END_S = 2.0
_MAX_LINE_BYTES = 1 << 16


class Line(NamedTuple):
    """One line, and when it arrived on the monotonic clock; None where it had waited, so that nobody knows."""

    t_ns: int | None
    text: str


class _Silence(enum.Enum):
    """Why no more lines come."""

    ENDED = enum.auto()
    STALLED = enum.auto()


class LineChild:
    """A running program. It ends with this process, however this one ends.

    Its lines are read by a thread of their own, since a sampler that looks at its deadlines would stamp each up to a
    period late. Of several lines that arrive at once the last alone gets a time.
    """

    def __init__(self, command: Sequence[str], name: str, interval_s: float) -> None:
        """Start it. To be called by the main thread: the program ends with the thread that starts it.

        Raises:
            DeviceError: there is no such program.
        """
        if shutil.which(command[0]) is None:
            raise DeviceError(f"{name}: there is no program `{command[0]}` on this node")
        self.name = name
        self._interval_s = interval_s
        self._start_s = START_S + interval_s
        self._stall_s = max(STALL_MIN_S, STALL_INTERVALS * interval_s)
        self._queue: queue.SimpleQueue[Line | _Silence] = queue.SimpleQueue()
        self._silence: _Silence | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devices.tether", str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
        )
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        self._pipe = self._process.stdout
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._read, name=f"lines of {name}", daemon=True)
        self._thread.start()

    def first(self) -> str:
        """Wait for the first line.

        Raises:
            DeviceError: it ended or prints nothing.
        """
        came = self._queue.get()
        if came is _Silence.STALLED:
            raise DeviceError(f"{self.name} printed nothing within {self._start_s:g} s of its start")
        if isinstance(came, _Silence):
            raise self._error(came)
        return came.text

    def take(self) -> list[Line]:
        """The lines since the previous call.

        Raises:
            DeviceError: there are none, because it ended or stalled.
        """
        lines = []
        while self._silence is None:
            try:
                came = self._queue.get_nowait()
            except queue.Empty:
                break
            if isinstance(came, _Silence):
                self._silence = came
            else:
                lines.append(came)
        if not lines and self._silence is not None:
            raise self._error(self._silence)
        return lines

    def close(self) -> None:
        """End it; more than once does no harm."""
        if self._stderr.closed:
            return
        # Not ours to signal where it runs through sudo: then the closed pipe ends it.
        with contextlib.suppress(PermissionError):
            self._process.terminate()
        os.close(self._waker)
        self._thread.join()
        self._pipe.close()
        os.close(self._wake)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait(_END_S)
        self._stderr.close()

    def _error(self, silence: _Silence) -> DeviceError:
        if silence is _Silence.STALLED:
            return DeviceError(
                f"{self.name} stalled: nothing for {self._stall_s:g} s, at an interval of {self._interval_s:g} s"
            )
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return DeviceError(f"{self.name} closed its output and runs on")
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self._stderr.seek(0)
        words = [line for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return DeviceError(f"{self.name} ended {how}" + (f": {words[-1].strip()}" if words else ""))

    def _read(self) -> None:
        """The reader thread."""
        fd, rest, limit_s = self._pipe.fileno(), b"", self._start_s
        while True:
            # What is in the pipe counts before the time does, so a stop of this process is no stall of the other.
            readable, _, _ = select.select([fd, self._wake], [], [], limit_s)
            if self._wake in readable:
                return
            data = os.read(fd, _MAX_LINE_BYTES) if readable else b""
            now_ns = time.monotonic_ns()
            if not data:
                self._queue.put(_Silence.ENDED if readable else _Silence.STALLED)
                return
            limit_s = self._stall_s
            *whole, rest = (rest + data).split(b"\n")
            if len(rest) > _MAX_LINE_BYTES:
                # Endless: handed on as a line, which its reader will not know.
                whole, rest = [*whole, rest], b""
            for number, line in enumerate(whole, 1):
                self._queue.put(Line(now_ns if number == len(whole) else None, line.decode(errors="replace")))
