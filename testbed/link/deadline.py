"""An end in time that is handed down, so that the parts of one task share its time instead of each having their own."""

from __future__ import annotations

import time


class Deadline:
    """`timeout_ms` from now, on this process's monotonic clock.

    Attributes:
        timeout_ms: how long it was in the beginning.
    """

    __slots__ = ("_end_ns", "timeout_ms")

    def __init__(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        self._end_ns = time.monotonic_ns() + timeout_ms * 1_000_000

    @property
    def remaining_ms(self) -> int:
        """What is left, rounded up, so that it is 0 only once the deadline has expired."""
        return max(0, -((time.monotonic_ns() - self._end_ns) // 1_000_000))

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic_ns() >= self._end_ns
