"""The trapezoid over power samples as a weighted sum of them, and what lies between the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from testbed.errors import RecordError

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Trace:
    """Power of one rail over time: `t_ns` ascending, `mw` alike in length."""

    t_ns: NDArray[np.int64]
    mw: NDArray[np.float64]


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


def integrate(t_ns: ArrayLike, mw: ArrayLike, start_ns: int, end_ns: int) -> float:
    """Trapezoid of power samples over a window whose edges are interpolated, mJ.

    Args:
        t_ns: times of the samples, of one clock, in any order.
        mw: power at those times.
        start_ns: begin of the window on the same clock.
        end_ns: its end.

    Raises:
        RecordError: fewer than two samples, samples that do not cover the window, or an empty window.
    """
    times = np.asarray(t_ns, dtype=np.int64)
    power = np.asarray(mw, dtype=np.float64)
    if not np.isfinite(power).all():
        raise RecordError("some power samples are not numbers")
    order = np.argsort(times, kind="stable")
    return float(weights(times[order], start_ns, end_ns) @ power[order])


def edge_limit_mj(trace: Trace, start_ns: int, end_ns: int, averaging_s: float, bound_s: float = 0.0) -> float:
    """How wrong an energy may be for what happened between samples, and within one.

    At either end of the window, and across every pause of over two periods in it, power may have changed anywhere in
    the pause between two samples (half of it is right wherever it was), and the sensor tells it smeared over its
    averaging time, half of which is the greatest error of a sample's stamp. How far it may have changed is the
    range of the samples around.

    Args:
        trace: samples that cover the window.
        start_ns: begin of the window.
        end_ns: its end.
        averaging_s: the sensor's averaging time.
        bound_s: how far off the window's ends may lie.
    """
    times, total = trace.t_ns, 0.0
    first, last = int(np.searchsorted(times, start_ns, "right")), int(np.searchsorted(times, end_ns, "left"))
    pauses = np.diff(times) / _NS_PER_S
    inside = np.arange(first, last - 1)
    long = inside[pauses[inside] > 2 * float(np.median(pauses))]
    ends = [(first - 1, averaging_s / 2 + bound_s), (last - 1, averaging_s / 2 + bound_s)]
    for before, late_s in [*ends, *((int(index), 0.0) for index in long)]:
        pause_s = float(pauses[before])
        reach_ns = round(2 * (averaging_s + pause_s + bound_s) * _NS_PER_S)
        low = int(np.searchsorted(times, times[before] - reach_ns, "left"))
        high = int(np.searchsorted(times, times[before + 1] + reach_ns, "right"))
        around = trace.mw[low:high]
        total += float(around.max() - around.min()) * (pause_s / 2 + late_s)
    return total


def same_code_s2(mw: NDArray[np.float64], weight: NDArray[np.float64], lsb_mw: float) -> float:
    """Σ over codes of (seconds at that code)²: readings of one code share their rounding error.

    Steady power is rounded alike however often it is read; only power that moves over several codes averages it out.
    Codes are counted from the median, as a power that is a product of two readings lies on no grid.
    """
    used = weight != 0
    if lsb_mw == 0 or not used.any():
        return 0.0
    codes = np.rint((mw[used] - np.median(mw[used])) / lsb_mw).astype(np.int64)
    _, index = np.unique(codes, return_inverse=True)
    return float((np.bincount(index, weights=weight[used]) ** 2).sum())
