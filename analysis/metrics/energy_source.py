"""Whether a sensor gave the edge's power (measured) or a model (emulated)."""

from __future__ import annotations

from analysis.energy import EnergySource
from analysis.metrics import energy
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Metric


def energy_source(one: Measured) -> EnergySource | None:
    """The kind of the cell's energy; None where there is no energy."""
    found = one.get(energy.METRIC)
    return None if found is None else found.source


METRIC = Metric(
    name="energy_source",
    term="energy source",
    doc=__doc__,
    of=energy_source,
    needs=(energy.METRIC,),
    columns=(Column("energy_source", "", lambda found: found),),
)
