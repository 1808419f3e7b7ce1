"""Mean power out of a counter of energy."""

from __future__ import annotations


class EnergyCounter:
    """The mean power between two moves of a counter, stamped with the middle of that time.

    So stamped, as the emulated source does it, a trapezoid over the samples gives the counter's energy. While the
    counter stands still there is no sample: it has not been updated, which is not the same as 0 mW.

    A counter also begins anew where nobody used that much: after a suspend, or when its driver is loaded again. Such a
    move is left out and counted, and the counting goes on from there.

    Args:
        mj_per_count: energy of one count.
        wraps_at: the greatest count, after which it starts from 0 again.
        max_mw: the mean power that nothing can draw, so that above it the counter began anew.
    """

    def __init__(self, mj_per_count: float, wraps_at: int, max_mw: float) -> None:
        self._mj_per_count = mj_per_count
        self._wraps_at = wraps_at
        self._max_mw = max_mw
        self._last: tuple[int, int] | None = None
        self._moves = 0
        self._first_ns = 0
        self.total_mj = 0.0
        self.left_out = 0

    def advance(self, t_ns: int, count: int) -> tuple[int, float] | None:
        """Take a reading; (time, mW) if the counter has moved since the one before, by what can be."""
        if self._last is None:
            self._last = (t_ns, count)
            self._first_ns = t_ns
            return None
        last_ns, last = self._last
        if count == last or t_ns <= last_ns:
            return None
        moved = count - last
        if moved < 0:
            # At most once: at 1 kW the smallest usual range, 65 kJ, lasts a minute.
            moved += self._wraps_at
        self._last = (t_ns, count)
        self._moves += 1
        energy_mj = moved * self._mj_per_count
        mean_mw = energy_mj * 1e9 / (t_ns - last_ns)
        if not 0 <= mean_mw <= self._max_mw:
            # The first move may hold a whole step and come right after the first reading: that is no fault.
            self.left_out += self._moves > 1
            self._first_ns += t_ns - last_ns
            return None
        self.total_mj += energy_mj
        return (last_ns + t_ns) // 2, mean_mw

    @property
    def span_s(self) -> float:
        """The time that `total_mj` was counted over, up to the last move."""
        return 0.0 if self._last is None else (self._last[0] - self._first_ns) / 1e9
