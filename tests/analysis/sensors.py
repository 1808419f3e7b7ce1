"""A simulated sensor on a simulated load: what it reads, and what was really drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.record.trapezoid import Trace

Floats = NDArray[np.float64]


class Load:
    """Power that is constant from each of `t_s` to the next."""

    def __init__(self, t_s: Floats, mw: Floats) -> None:
        self.t_s = t_s
        self._total = np.concatenate(([0.0], np.cumsum(mw[:-1] * np.diff(t_s))))

    def up_to(self, t_s: Floats | float) -> Floats:
        """Energy drawn from the beginning until `t_s`, mJ."""
        return np.interp(t_s, self.t_s, self._total)

    def energy_mj(self, start_s: float, end_s: float) -> float:
        return float(self.up_to(end_s) - self.up_to(start_s))


def square(period_s: float, low_mw: float, high_mw: float, end_s: float) -> Load:
    """High for the first half of each period."""
    edges = np.arange(0.0, end_s + period_s, period_s / 2)
    return Load(edges, np.where(np.arange(len(edges)) % 2 == 0, high_mw, low_mw))


@dataclass(frozen=True)
class Chip:
    """A monitor that averages over one block of `averaging_s` after the other and shows the last whole block.

    A reading is stamped one averaging time before it was read: the middle of its block lies half a block to one
    and a half blocks back. `gain` and `offset_mw` are this chip's errors.
    """

    averaging_s: float
    rate_hz: float
    gain: float = 0.0
    offset_mw: float = 0.0
    lsb_mw: float = 0.0
    jitter_s: float = 0.0
    block_at_s: float = 0.0

    def read(self, load: Load, start_s: float, end_s: float, rng: np.random.Generator | None = None) -> Trace:
        """What a sampler gets that reads at its rate from `start_s` to `end_s`, late by up to `jitter_s`."""
        reads = np.arange(start_s, end_s, 1 / self.rate_hz)
        if rng is not None:
            reads = reads + rng.uniform(0, self.jitter_s, len(reads))
        done = np.floor((reads - self.block_at_s) / self.averaging_s) * self.averaging_s + self.block_at_s
        mw = (load.up_to(done) - load.up_to(done - self.averaging_s)) / self.averaging_s
        mw = mw * (1 + self.gain) + self.offset_mw
        if self.lsb_mw:
            mw = np.rint(mw / self.lsb_mw) * self.lsb_mw
        return Trace(np.rint((reads - self.averaging_s) * 1e9).astype(np.int64), mw)
