"""1 − energy over the baseline's energy, in percent. Blank between a measured and an emulated energy.

Its 95% interval is Student's over the savings of the repeats, each with the baseline's same repeat; a gain error of
the sensor is in both energies and cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.energy import KINDS, EnergySource
from analysis.metrics import energy
from analysis.metrics.comparison import Compared, compared_columns, compared_line, paired
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.texts import number


@dataclass(frozen=True)
class Saving(Compared):
    """A saving in percent, and of which kind of energy."""

    source: EnergySource


def energy_saving(one: Measured) -> Saving | None:
    """Percent of the baseline's gross energy that the cell does not need; None where nothing is to compare with."""
    own, baseline = one.get(energy.METRIC), one.baseline.get(energy.METRIC) if one.baseline else None
    if own is None or baseline is None or own.source != baseline.source:
        return None
    saving = 100 * (1 - own.gross.mean / baseline.gross.mean)
    found = paired(saving, own.per_repeat_mj, baseline.per_repeat_mj, lambda mine, theirs: 100 * (1 - mine / theirs))
    return Saving(found.value, found.low, found.high, own.source)


def _heading(kind: EnergySource) -> Heading[Saving]:
    return Heading(
        f"saving ({kind}) [%]", lambda found: number(found.value, 1), only=lambda found: found.source == kind
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
