"""Which readings nobody believes: a limit for each rail, from what its board, card or socket can draw at all.

A sensor that wraps around, a bus that glitches and a counter that begins anew give numbers that no hardware can draw.
Such a reading is left out and counted. Left in, one of them would be most of an energy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from devices.base.power import Rail
from devices.power.source import Sample

MARGIN = 3.0
"""How far above its rated power a reading may lie. Ratings are means: NVIDIA states pulses of 330 W for Thor's module
of 130 W, 2.5 times as much (https://forums.developer.nvidia.com/t/power-supply-for-thor-module/371003)."""

SOCKET_MW = 230 * 16 * 1e3
"""What one socket gives at the most (230 V, 16 A; CEE 7), where nothing closer is known."""


def rated(mw: float | None) -> float:
    """The limit of what has a rated power; that of a socket where none is known."""
    return MARGIN * mw if mw else SOCKET_MW


class Plausibility:
    """Sorts the samples of one source, and counts those left out by rail.

    A reading is believed up to its rail's `max_mw`, and below zero as far as the rail's own error reaches: offset, step
    and gain. A rail without `max_mw` is a model's, which has no sensor that could be wrong.
    """

    def __init__(self, rails: Sequence[Rail]) -> None:
        self._ranges = {rail.name: _range(rail) for rail in rails}
        self.left_out: dict[str, int] = {}

    def believed(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that can be."""
        kept = []
        for sample in samples:
            least, most = self._ranges[sample.rail]
            if least <= sample.mw <= most:  # not so for what is no number
                kept.append(sample)
            else:
                self.left_out[sample.rail] = self.left_out.get(sample.rail, 0) + 1
        return kept

    def add(self, left_out: Mapping[str, int]) -> dict[str, int]:
        """What was left out here and, of the same rails, by the source itself."""
        rails = sorted({*self.left_out, *left_out})
        return {rail: self.left_out.get(rail, 0) + left_out.get(rail, 0) for rail in rails}


def _range(rail: Rail) -> tuple[float, float]:
    if rail.max_mw is None:
        return -math.inf, math.inf
    return -(rail.offset_mw + rail.lsb_mw + rail.gain * rail.max_mw), rail.max_mw
