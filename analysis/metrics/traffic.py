"""Mean bytes per answered request: the payload that the edge sent, without headers, and what was on the wire.

Wire bytes are the kernel's counters of the data connection, and add headers, ZMTP and TCP/IP. Each repeat counts alike,
and in it each sample. Blank where nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import number


@dataclass(frozen=True)
class Traffic:
    """Bytes per answered request, up from the edge and down to it."""

    payload_up_bytes: float
    payload_down_bytes: float
    wire_up_bytes: float
    wire_down_bytes: float


def traffic(one: Measured) -> Traffic | None:
    """Mean bytes, or None for a cell that sends nothing."""
    if one.cell.manifest.sends == "nothing":
        return None
    rows, alike = one.answered, Alike(one.answered)
    return Traffic(
        **{
            f"{what}_bytes": alike.mean(rows[f"{what}_bytes"])
            for what in ("payload_up", "payload_down", "wire_up", "wire_down")
        }
    )


def _details(found: Traffic) -> list[Line]:
    return [
        ("payload up / down", f"{found.payload_up_bytes:,.1f} / {found.payload_down_bytes:,.1f} B per request"),
        ("wire up / down", f"{found.wire_up_bytes:,.1f} / {found.wire_down_bytes:,.1f} B per request"),
    ]


METRIC = Metric(
    name="traffic",
    term="payload up",
    doc=__doc__,
    of=traffic,
    columns=(
        Column("payload_up_bytes", "B", lambda found: found.payload_up_bytes),
        Column("wire_up_bytes", "B", lambda found: found.wire_up_bytes),
    ),
    headings=(Heading("payload up [B]", lambda found: number(found.payload_up_bytes, 1)),),
    details=_details,
)
