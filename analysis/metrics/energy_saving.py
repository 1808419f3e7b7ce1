"""1 − mean energy over the baseline's mean energy, in percent. Blank between a measured and an emulated energy.

Its 95% interval has the spread of the repeats' own savings, each with the baseline's same repeat. It also has what of
the sensor's limits does not cancel. A gain error is in both energies and cancels, an offset cancels in part. Rounding
and the edges of the windows do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.energy import KINDS, EnergySource
from analysis.metrics import energy
from analysis.metrics.comparison import Compared, around, compared_columns, compared_line, compared_text
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.texts import number
from analysis.uncertainty import Budget, PartName, budget


@dataclass(frozen=True, kw_only=True)
class Saving(Compared):
    """A saving in percent, and of which kind of energy."""

    source: EnergySource


def energy_saving(one: Measured) -> Saving | None:
    """Percent of the baseline's gross energy that the cell does not need; None where nothing is to compare with."""
    own, baseline = one.get(energy.METRIC), one.baseline.get(energy.METRIC) if one.baseline else None
    if own is None or baseline is None or own.source != baseline.source:
        return None
    saving = 100 * (1 - own.gross.mean / baseline.gross.mean)
    both = sorted(own.per_repeat_mj.keys() & baseline.per_repeat_mj.keys())
    each = [100 * (1 - own.per_repeat_mj[repeat] / baseline.per_repeat_mj[repeat]) for repeat in both]
    # A cell against itself has the same errors, which are no difference.
    itself = one.baseline is not None and one.cell.folder == one.baseline.cell.folder
    parts = {} if itself else _left(own.gross, baseline.gross)
    found = around(saving, budget(each, [parts] * len(each)).half if each else None)
    return Saving(found.value, found.low, found.high, source=own.source)


def _left(own: Budget, baseline: Budget) -> dict[PartName, float]:
    """Standard uncertainties of the saving, in percent, from the systematic parts of both energies."""
    parts: dict[PartName, float] = {}
    names: tuple[PartName, ...] = ("offset", "lsb", "edges")
    for name in names:
        mine, theirs = (100 * each.standard.get(name, 0.0) / baseline.mean for each in (own, baseline))
        theirs *= own.mean / baseline.mean
        # One chip has one offset, so both energies err to the same side.
        parts[name] = abs(mine - theirs) if name == "offset" else math.hypot(mine, theirs)
    return parts


def _heading(kind: EnergySource) -> Heading[Saving]:
    return Heading(
        f"saving ({kind}) [%]",
        lambda found: compared_text(found, lambda value: number(value, 1)),
        only=lambda found: found.source == kind,
    )


METRIC = Metric(
    name="energy_saving",
    term="saving",
    doc=__doc__,
    of=energy_saving,
    needs=(energy.METRIC,),
    compares=True,
    columns=compared_columns("energy_saving_pct", "%"),
    headings=tuple(_heading(kind) for kind in KINDS),
    details=lambda found: compared_line(f"saving ({found.source})", found, lambda value: f"{number(value, 1)}%"),
)
