"""Mean bytes per answered request: the payload that the edge sent, without headers, and what was on the wire.

Wire bytes are the kernel's counters of the data connection, with what a shaper in its place sent again. They add
headers, ZMTP and TCP/IP. Each repeat counts alike, and in it each sample. Blank where nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import number


@dataclass(frozen=True)
class Traffic:
    """Bytes per answered request, up from the edge and down to it; None where no counters of the wire are left."""

    payload_up_bytes: float
    payload_down_bytes: float
    wire_up_bytes: float | None
    wire_down_bytes: float | None


def traffic(one: Measured) -> Traffic | None:
    """Mean bytes, or None for a cell that sends nothing."""
    if one.cell.manifest.sends == "nothing":
        return None
    rows = one.answered
    # Counters of the wire are lost with the connection that they are of.
    known = rows[rows["wire_up_bytes"].notna() & rows["wire_down_bytes"].notna()]
    alike = one.alike_answered
    of_known = alike if len(known) == len(rows) else Alike(known)
    return Traffic(
        payload_up_bytes=alike.mean(rows["payload_up_bytes"]),
        payload_down_bytes=alike.mean(rows["payload_down_bytes"]),
        wire_up_bytes=None if known.empty else of_known.mean(known["wire_up_bytes"]),
        wire_down_bytes=None if known.empty else of_known.mean(known["wire_down_bytes"]),
    )


def _details(found: Traffic) -> list[Line]:
    payload = f"{found.payload_up_bytes:,.1f} / {found.payload_down_bytes:,.1f} B per request"
    if found.wire_up_bytes is None or found.wire_down_bytes is None:
        return [("payload up / down", payload)]
    wire = f"{found.wire_up_bytes:,.1f} / {found.wire_down_bytes:,.1f} B per request"
    return [("payload up / down", payload), ("wire up / down", wire)]


METRIC = Metric(
    name="traffic",
    term="payload up, wire up",
    doc=__doc__,
    of=traffic,
    columns=(
        Column("payload_up_bytes", "B", lambda found: found.payload_up_bytes),
        Column("wire_up_bytes", "B", lambda found: found.wire_up_bytes),
    ),
    headings=(
        Heading("mean payload up [B]", lambda found: number(found.payload_up_bytes, 1)),
        Heading("mean wire up [B]", lambda found: number(found.wire_up_bytes, 1)),
    ),
    details=_details,
)
