"""Nominal, per timestep: 32·C·H·W at the split over the bits of the code; blank where no code is sent.

It is a factor of the cell, and stands among the factors in `summary.csv`.
"""

from __future__ import annotations

from analysis.factors import nominal_compression
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Line, Metric


def compression(one: Measured) -> float | None:
    """The model's nominal compression; None where no code is sent."""
    return nominal_compression(one.cell.manifest)


def _details(found: float) -> list[Line]:
    return [("compression, nominal", f"{found:,g}×")]


METRIC: Metric[float] = Metric(
    name="compression",
    term="compression",
    doc=__doc__,
    of=compression,
    details=_details,
)
