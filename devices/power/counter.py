"""Mean power out of a counter of energy."""

from __future__ import annotations

from devices.base.errors import DeviceError


class EnergyCounter:
    """The mean power between two moves of a counter, stamped with the middle of that time.

    So stamped, as the emulated source does it, a trapezoid over the samples gives the counter's energy. While the
    counter stands still there is no sample: it has not been updated, which is not the same as 0 mW.

    Args:
        name: of the counter, for errors.
        mj_per_count: energy of one count.
        wraps_at: the greatest count, after which it starts from 0 again; None: never.
    """

    def __init__(self, name: str, mj_per_count: float, wraps_at: int | None = None) -> None:
        self._name = name
        self._mj_per_count = mj_per_count
        self._wraps_at = wraps_at
        self._last: tuple[int, int] | None = None
        self._first_ns = 0
        self.total_mj = 0.0

    def advance(self, t_ns: int, count: int) -> tuple[int, float] | None:
        """Take a reading; (time, mW) if the counter has moved since the one before.

        Raises:
            DeviceError: it went backwards and is not one that wraps.
        """
        if self._last is None:
            self._last = (t_ns, count)
            self._first_ns = t_ns
            return None
        last_ns, last = self._last
        if count == last or t_ns <= last_ns:
            return None
        moved = count - last
        if moved < 0:
            if self._wraps_at is None:
                raise DeviceError(f"{self._name}: the energy counter went back from {last} to {count}; was it reset?")
            # At most once: at 1 kW the smallest usual range, 65 kJ, lasts a minute.
            moved += self._wraps_at
        self._last = (t_ns, count)
        energy_mj = moved * self._mj_per_count
        self.total_mj += energy_mj
        return (last_ns + t_ns) // 2, energy_mj * 1e9 / (t_ns - last_ns)

    @property
    def span_s(self) -> float:
        """The time that `total_mj` was counted over, up to the last move."""
        return 0.0 if self._last is None else (self._last[0] - self._first_ns) / 1e9
