"""What the cloud drew per request, gross; blank where it takes no part or is not metered.

The window is the edge's, carried over to the cloud's clock with the recorded offsets. It has no net energy, as only
the edge says when its idle phases end.
"""

from __future__ import annotations

from analysis.metrics.energy import energy_lines, energy_of
from analysis.metrics.metric import Column, Metric

METRIC = Metric(
    name="cloud_energy",
    term="cloud energy",
    doc=__doc__,
    of=lambda one: energy_of(one, "cloud"),
    columns=(Column("cloud_energy_mj", "mJ", lambda found: found.gross.mean),),
    details=lambda found: energy_lines("cloud", found),
)
