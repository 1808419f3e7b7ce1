"""Mean per answered request of what was done for timesteps that have no part in its answer: timesteps, time and bytes.

They were computed or sent ahead of an exit, or for a cloud in whose place the edge then answered. The edge's time is in
its stages and its bytes are in its payload. The cloud's time and bytes are also those that came after the request had
ended. Each repeat counts alike, and in it each sample. Blank for cells that were recorded before this was.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import number

COLUMNS = ("wasted_timesteps", "wasted_edge_ms", "wasted_cloud_ms", "wasted_up_bytes", "wasted_down_bytes")


@dataclass(frozen=True)
class Waste:
    """Means per answered request."""

    timesteps: float
    edge_ms: float
    cloud_ms: float
    up_bytes: float
    down_bytes: float


def waste(one: Measured) -> Waste | None:
    """What a cell did in vain; None where that was not recorded."""
    rows = one.answered
    if rows["wasted_timesteps"].isna().any():
        return None
    return Waste(*(one.alike_answered.mean(rows[name]) for name in COLUMNS))


def _any(found: Waste) -> bool:
    return found.timesteps > 0


def _details(found: Waste) -> list[Line]:
    if not found.timesteps:
        return []
    times = f"{found.edge_ms:.3f} ms on the edge, {found.cloud_ms:.3f} ms on the cloud"
    sizes = f"{found.up_bytes:,.1f} / {found.down_bytes:,.1f} B up / down"
    return [("in vain", f"{found.timesteps:.2f} timesteps: {times}, {sizes} per request")]


METRIC = Metric(
    name="waste",
    term="in vain",
    doc=__doc__,
    of=waste,
    columns=(
        Column("wasted_timesteps", "timesteps", lambda found: found.timesteps),
        Column("wasted_edge_ms", "ms", lambda found: found.edge_ms),
        Column("wasted_cloud_ms", "ms", lambda found: found.cloud_ms),
        Column("wasted_up_bytes", "B", lambda found: found.up_bytes),
        Column("wasted_down_bytes", "B", lambda found: found.down_bytes),
    ),
    headings=(Heading("in vain [timesteps]", lambda found: number(found.timesteps, 2), only=_any),),
    details=_details,
)
