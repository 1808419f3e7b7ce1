"""What the workstation says to a steward: standard input as messages, and the limit of its silence."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

from testbed.steward.store import CHUNK

SILENCE_S = 20
"""How long the workstation may be silent; it says something every 2 s."""


class Over(Exception):  # noqa: N818
    """There is nobody left to serve."""


class Inbox:
    """Standard input as messages."""

    def __init__(self, fd: int) -> None:
        self._fd, self._buffer = fd, b""
        signal.signal(signal.SIGALRM, self._silent)
        signal.alarm(SILENCE_S)

    @staticmethod
    def _silent(number: int, frame: Any) -> None:
        # Raised out of whatever is going on, a blocked write among it; and again, should its clean-up block as well.
        signal.alarm(1)
        raise Over(f"the workstation was silent for {SILENCE_S} s")

    def absorb(self, timeout_s: float | None) -> None:
        """Take in what comes before the timeout (None: wait).

        Raises:
            Over: the input has ended.
        """
        readable, _, _ = select.select([self._fd], [], [], timeout_s)
        if readable:
            data = os.read(self._fd, CHUNK)
            if not data:
                raise Over("the connection has ended")
            signal.alarm(SILENCE_S)
            self._buffer += data

    def line(self) -> bytes | None:
        """The next line, if it is here whole."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        return line

    def read(self, size: int) -> bytes:
        """The next 1 to `size` bytes."""
        while not self._buffer:
            self.absorb(None)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = b""
        while len(data) < size:
            data += self.read(size - len(data))
        return data
