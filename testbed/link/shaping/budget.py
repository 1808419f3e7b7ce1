"""What one direction of a link could have carried until each moment, and when it will have carried so much."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from devices.links.conditions import Capacity

NEVER = 1 << 62
"""In ns; later than any clock goes."""

_NS = 1_000_000
_ROUNDING_BYTES = 1e-6
"""More than what floating point makes of byte counts, and far less than a byte."""


class ByteBudget:
    """A `Capacity` on a clock in nanoseconds, begun anew at will and slowed down at will.

    Positions are bytes since the budget was made. They go on growing over a restart and over a change of the rate. A
    position is worked out from the trace each time, so that nothing adds up over hours.
    """

    def __init__(self, capacity: Capacity, now_ns: int) -> None:
        self._at_ns = [each * _NS for each in capacity.ms]
        self._bytes = capacity.bytes
        self._epoch_ns = now_ns
        self._rate = 1.0
        self._since, self._carried_before = 0.0, 0.0

    def at(self, t_ns: int) -> float:
        """The position at a moment after the last restart."""
        return self._since + self._rate * (self._carried(t_ns) - self._carried_before)

    def when(self, position: float) -> int:
        """The first moment, rounded up, at which a position is reached; `NEVER` while nothing is carried."""
        if not self._rate:
            return NEVER
        return self._moment(self._carried_before + (position - self._since) / self._rate)

    def restart(self, now_ns: int) -> None:
        """Let the capacity's moment 0 be now."""
        self._since = self.at(now_ns)
        self._epoch_ns, self._carried_before = now_ns, 0.0

    def set_rate(self, rate: float, now_ns: int) -> None:
        """Carry `rate` times as much from now on; 0: nothing."""
        self._since = self.at(now_ns)
        self._rate, self._carried_before = rate, self._carried(now_ns)

    def _carried(self, t_ns: int) -> float:
        passes, within = divmod(t_ns - self._epoch_ns, self._at_ns[-1])
        after = bisect_right(self._at_ns, within)
        start, end = self._at_ns[after - 1], self._at_ns[after]
        low, high = self._bytes[after - 1], self._bytes[after]
        return passes * self._bytes[-1] + low + (high - low) * (within - start) / (end - start)

    def _moment(self, carried: float) -> int:
        passes, within = divmod(max(0.0, carried - _ROUNDING_BYTES), self._bytes[-1])
        after = max(1, bisect_left(self._bytes, within))
        start, end = self._at_ns[after - 1], self._at_ns[after]
        low, high = self._bytes[after - 1], self._bytes[after]
        share = (within - low) / (high - low) if high > low else 0.0
        return self._epoch_ns + int(passes) * self._at_ns[-1] + start + math.ceil(share * (end - start))
