"""1 − mean net energy over the baseline's mean net energy, in percent: of what the work takes beyond the idle board.

Blank between a measured and an emulated energy. Blank too where the baseline's net energy is not resolved from 0, in
the mean and in each repeat. Its 95% interval has the spread of the repeats' own savings, each with the baseline's same
repeat. It also has what of the sensor's limits and of the idle baseline's drift does not cancel. The tables show it
where the idle power is most of the mean power of the cell or of its baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.energy import KINDS, EnergySource
from analysis.metrics import energy
from analysis.metrics.comparison import around, compared_columns, compared_line, compared_text
from analysis.metrics.energy_saving import Saving
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.texts import number
from analysis.uncertainty import Budget, PartName, budget


@dataclass(frozen=True, kw_only=True)
class NetSaving(Saving):
    """A saving of net energy, and whether gross is mostly the idle board's in the cell or in its baseline."""

    mostly_idle: bool


def energy_net_saving(one: Measured) -> NetSaving | None:
    """Percent of the baseline's net energy that the cell does not need; None where nothing is to compare with."""
    own, baseline = one.get(energy.METRIC), one.baseline.get(energy.METRIC) if one.baseline else None
    if own is None or baseline is None or own.source != baseline.source or own.net is None or baseline.net is None:
        return None
    mine, theirs = own.net_per_repeat_mj or {}, baseline.net_per_repeat_mj or {}
    if min(theirs.values()) <= 0 or baseline.net.mean <= (baseline.net.half or 0.0):
        return None
    both = sorted(mine.keys() & theirs.keys())
    each = [100 * (1 - mine[repeat] / theirs[repeat]) for repeat in both]
    # A cell against itself has the same errors, which are no difference.
    itself = one.baseline is not None and one.cell.folder == one.baseline.cell.folder
    parts = {} if itself else _left(own.net, baseline.net)
    found = around(
        100 * (1 - own.net.mean / baseline.net.mean), budget(each, [parts] * len(each)).half if each else None
    )
    idle = own.mostly_idle or baseline.mostly_idle
    return NetSaving(found.value, found.low, found.high, source=own.source, mostly_idle=idle)


def _left(own: Budget, baseline: Budget) -> dict[PartName, float]:
    """Standard uncertainties of the saving, in percent, from the systematic parts of both net energies.

    A gain error cancels, as one chip has one gain. Each window has its own rounding, edges and drift.
    """
    names: tuple[PartName, ...] = ("lsb", "edges", "drift")
    ratio = own.mean / baseline.mean
    return {
        name: 100 * math.hypot(own.standard.get(name, 0.0), ratio * baseline.standard.get(name, 0.0)) / baseline.mean
        for name in names
    }


def _heading(kind: EnergySource) -> Heading[NetSaving]:
    return Heading(
        f"net saving ({kind}) [%]",
        lambda found: compared_text(found, lambda value: number(value, 1)),
        only=lambda found: found.source == kind,
        when=lambda found: found.mostly_idle,
    )


METRIC = Metric(
    name="energy_net_saving",
    term="net saving",
    doc=__doc__,
    of=energy_net_saving,
    needs=(energy.METRIC,),
    compares=True,
    columns=compared_columns("energy_net_saving_pct", "%"),
    headings=tuple(_heading(kind) for kind in KINDS),
    details=lambda found: compared_line(f"net saving ({found.source})", found, lambda value: f"{number(value, 1)}%"),
)
