"""The trapezoid over power samples, as a weighted sum of them: the only one there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.errors import RecordError

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Trace:
    """Power of one rail over time: `t_ns` ascending, `mw` alike in length."""

    t_ns: NDArray[np.int64]
    mw: NDArray[np.float64]

    def over(self, start_ns: int, end_ns: int) -> Trace:
        """The samples that a trapezoid over a window needs: those in it and one beyond either end.

        All samples where they do not cover the window.
        """
        first, last = int(np.searchsorted(self.t_ns, start_ns, "right")) - 1, int(np.searchsorted(self.t_ns, end_ns))
        if first < 0 or last == len(self.t_ns):
            return self
        return Trace(self.t_ns[first : last + 1], self.mw[first : last + 1])

    def between(self, start_ns: int, end_ns: int) -> Trace:
        """The samples from one time to another, both included."""
        chosen = (self.t_ns >= start_ns) & (self.t_ns <= end_ns)
        return Trace(self.t_ns[chosen], self.mw[chosen])

    def energy_mj(self, start_ns: int, end_ns: int) -> float:
        """Energy over a window whose edges are interpolated.

        Raises:
            RecordError: a sample is not a number, or as `weights`.
        """
        if not np.isfinite(self.mw).all():
            raise RecordError("some power samples are not numbers")
        return float(weights(self.t_ns, start_ns, end_ns) @ self.mw)

    @property
    def mean_mw(self) -> float:
        """Mean from the first sample to the last, over time and not over samples: a source need not sample evenly.

        Raises:
            RecordError: as `energy_mj`.
        """
        if len(self.t_ns) < 2:
            raise RecordError(f"{len(self.t_ns)} power samples; a mean over time needs at least two")
        first, last = int(self.t_ns[0]), int(self.t_ns[-1])
        return self.energy_mj(first, last) / ((last - first) / _NS_PER_S)


def weights(t_ns: NDArray[np.int64], start_ns: int, end_ns: int) -> NDArray[np.float64]:
    """The seconds that each sample counts in the trapezoid over a window whose edges are interpolated.

    The energy is the sum of weight times power: what an error of the samples does to it follows from the weights.

    Args:
        t_ns: times of the samples, ascending.
        start_ns: begin of the window on the same clock.
        end_ns: its end.

    Raises:
        RecordError: fewer than two samples, samples that do not cover the window, or an empty window.
    """
    if len(t_ns) < 2:
        raise RecordError(f"{len(t_ns)} power samples; an energy needs at least two")
    if end_ns <= start_ns:
        raise RecordError(f"the window from {start_ns} to {end_ns} ns is empty")
    if t_ns[0] > start_ns or t_ns[-1] < end_ns:
        late, early = (max(0, int(gap)) / 1e6 for gap in (t_ns[0] - start_ns, end_ns - t_ns[-1]))
        raise RecordError(
            f"power samples do not cover the window: {late:.3f} ms short at its start, {early:.3f} at its end"
        )
    # Seconds from the window's start: nanoseconds since boot lose digits as floats.
    seconds = (t_ns - start_ns) / _NS_PER_S
    left, right = seconds[:-1], seconds[1:]
    low = np.clip(left, 0.0, (end_ns - start_ns) / _NS_PER_S)
    high = np.clip(right, 0.0, (end_ns - start_ns) / _NS_PER_S)
    # Where the middle of what lies in the window is between the two samples; no matter where they coincide.
    share = ((low + high) / 2 - left) / np.where(right > left, right - left, 1.0)
    weight = np.zeros(len(t_ns))
    weight[:-1] += (high - low) * (1 - share)
    weight[1:] += (high - low) * share
    return weight
