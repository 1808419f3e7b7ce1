"""Nominal, per timestep: 32·C·H·W at the split over the bits of the code; blank where no code is sent."""

from __future__ import annotations

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Line, Metric


def compression(one: Measured) -> float | None:
    """The model's nominal compression; None where no code is sent."""
    manifest = one.cell.manifest
    return manifest.model.compression if manifest.sends == "code" else None


def _details(found: float) -> list[Line]:
    return [("compression, nominal", f"{found:,g}×")]


METRIC: Metric[float] = Metric(
    name="compression",
    term="compression",
    doc=__doc__,
    of=compression,
    columns=(Column("compression", "×", lambda found: found),),
    details=_details,
)
