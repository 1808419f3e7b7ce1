"""What the cloud drew per request, gross, in the mean; blank where it takes no part or is not metered.

The window is the edge's, carried over to the cloud's clock with the recorded offsets. It has no net energy, as only
the edge says when its idle phases end.
"""

from __future__ import annotations

from analysis.energy import KINDS, Energy, EnergySource
from analysis.metrics.energy import energy_lines, energy_of
from analysis.metrics.metric import Column, Heading, Metric
from analysis.texts import plus_minus


def _heading(kind: EnergySource) -> Heading[Energy]:
    return Heading(
        f"mean cloud energy ({kind}) [mJ]",
        lambda found: plus_minus(found.gross.mean, found.gross.half),
        only=lambda found: found.source == kind,
    )


METRIC = Metric(
    name="cloud_energy",
    term="cloud energy",
    doc=__doc__,
    of=lambda one: energy_of(one, "cloud"),
    columns=(
        Column("cloud_energy_mj", "mJ", lambda found: found.gross.mean),
        Column("cloud_energy_mj_ci95", "mJ", lambda found: found.gross.half),
    ),
    headings=tuple(_heading(kind) for kind in KINDS),
    details=lambda found: energy_lines("cloud", found),
)
