"""What lies between power samples, and within one: how wrong a trapezoid may be for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from testbed.record.trapezoid import Trace

_NS_PER_S = 1e9


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
