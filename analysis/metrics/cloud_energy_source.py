"""Whether the cloud's energy is measured or emulated, or not metered: then a saving is the edge's alone.

Blank where no cloud takes part.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from analysis.energy import EnergySource
from analysis.metrics import cloud_energy
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from testbed.record.power import source_names

NOT_METERED: Literal["not metered"] = "not metered"
CloudSource: TypeAlias = EnergySource | Literal["not metered"]


def cloud_energy_source(one: Measured) -> CloudSource | None:
    """Where the cloud's energy comes from; None where there is no cloud, or its sensor's record has a hole."""
    clouds = one.cell.manifest.role("cloud")
    if not clouds:
        return None
    found = one.get(cloud_energy.METRIC)
    if found is not None:
        return found.source
    return None if source_names(clouds[0]) else NOT_METERED


METRIC = Metric(
    name="cloud_energy_source",
    term="cloud energy source",
    doc=__doc__,
    of=cloud_energy_source,
    needs=(cloud_energy.METRIC,),
    columns=(Column("cloud_energy_source", "", lambda found: found),),
    headings=(Heading("cloud energy", lambda found: found, only=lambda found: found == NOT_METERED),),
    details=lambda found: [("cloud energy", NOT_METERED)] if found == NOT_METERED else [],
)
