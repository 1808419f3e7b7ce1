"""Capacities, put together moment by moment."""

from __future__ import annotations

from devices.links.conditions import MOST_POINTS, Capacity

MOST_MS = 7 * 24 * 3_600_000
"""Of one pass over a trace: a week."""


def constant(mbit_s: float) -> Capacity:
    """A rate that never changes; exact down to 1 bit/s, since 1 Mbit/s are 10^6 bytes in 8 s."""
    return Capacity(ms=[0, 8000], bytes=[0, max(1, round(mbit_s * 1e6))])


class Points:
    """Collects the points of a capacity; one that lies on the line between its neighbours is not needed."""

    def __init__(self) -> None:
        self._ms = [0]
        self._bytes = [0]

    @property
    def last_ms(self) -> int:
        """The moment that the capacity is known until."""
        return self._ms[-1]

    @property
    def last_bytes(self) -> int:
        """What can be carried until then."""
        return self._bytes[-1]

    def add(self, ms: int, total_bytes: int) -> None:
        """Add the moment until which `total_bytes` can be carried in all.

        Raises:
            ValueError: that makes more points, or a longer pass, than a capacity may have.
        """
        if ms > MOST_MS:
            raise ValueError(f"expected at most {MOST_MS // 3_600_000} hours, got {ms / 3_600_000:,.1f}")
        if len(self._ms) > 1:
            before, before_bytes = self._ms[-2], self._bytes[-2]
            slope = (self._bytes[-1] - before_bytes) * (ms - before)
            if slope == (total_bytes - before_bytes) * (self._ms[-1] - before):
                self._ms[-1], self._bytes[-1] = ms, total_bytes
                return
        if len(self._ms) == MOST_POINTS:
            raise ValueError(f"the rate changes more than {MOST_POINTS:,} times up to here; cut the trace")
        self._ms.append(ms)
        self._bytes.append(total_bytes)

    def capacity(self) -> Capacity:
        """All of them.

        Raises:
            ValueError: they carry nothing.
        """
        if self.last_bytes == 0:
            raise ValueError("expected a rate above 0 somewhere, this carries nothing")
        return Capacity(ms=self._ms, bytes=self._bytes)
