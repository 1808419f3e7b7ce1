"""Computing as slowly as a slower board does."""

from __future__ import annotations

import time

# The kernel may wake a sleeper this late (50 µs of timer slack and the way back into Python).
_SPIN_NS = 60_000


class Slowdown:
    """Stretches what was computed on a fast host to the time that the emulated board would take."""

    def __init__(self, factor: float) -> None:
        if not factor >= 1:
            raise ValueError(f"a slowdown is at least 1, not {factor}")
        self.factor = factor

    def stretch(self, t_start_ns: int) -> int:
        """Wait until `factor` times the time since `t_start_ns` has passed, and return the time then.

        Times are nanoseconds of the monotonic clock. A factor of 1 returns at once.
        """
        now_ns = time.monotonic_ns()
        end_ns = t_start_ns + round(self.factor * (now_ns - t_start_ns))
        sleep_ns = end_ns - now_ns - _SPIN_NS
        if sleep_ns > 0:
            time.sleep(sleep_ns / 1e9)
        while now_ns < end_ns:
            now_ns = time.monotonic_ns()
        return now_ns
