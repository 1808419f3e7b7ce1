"""What a caption says of gross energies that are mostly those of an idle board."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.metrics import energy
from analysis.metrics.measured import Measured
from analysis.texts import significant


def idle_note(shown: Sequence[Measured]) -> str:
    """A sentence with the net energies of the cells in which idle power is most of the mean power; "" without any."""
    found = [drew for one in shown if (drew := one.get(energy.METRIC)) is not None]
    nets = sorted(drew.net.mean for drew in found if drew.mostly_idle and drew.net is not None)
    if not nets:
        return ""
    ends = " to ".join(dict.fromkeys(significant(value) for value in (nets[0], nets[-1])))
    return (
        f" In {len(nets)} of {len(found)} cells most of the energy is what the idle board draws in that time: net of "
        f"it they take {ends} mJ per request. The tables have each cell's net energy."
    )
