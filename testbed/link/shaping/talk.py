"""What the worker and its shaper say to each other: JSON lines on the shaper's standard input and output."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from devices.links.conditions import Link
from testbed.link.shaping.shaper import Disturbance

MOST_RESENT = 32
"""Of one row, so that its line goes into a pipe whole or not at all: 4,096 bytes (PIPE_BUF in pipe(7))."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first line in: what to shape, where to listen (port 0: any), and where the cloud's own endpoint is."""

    link: Link
    address: str
    port: int
    cloud_host: str
    cloud_port: int


class Arm(msgspec.Struct, frozen=True, tag="arm"):
    """Begin the link's time anew."""


class Disturb(msgspec.Struct, frozen=True, tag="disturb"):
    """Replace the present disturbance."""

    disturbance: Disturbance


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The first line out: it listens there."""

    port: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Instead of `Ready`: why it cannot."""

    reason: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """An order was carried out, at this moment of the monotonic clock."""

    t_ns: int


class Resent(msgspec.Struct, frozen=True, array_like=True):
    """A packet that left once more: its connection by the edge's end, its first byte's offset, its bytes."""

    connection: str
    side: Literal["up", "down"]
    at: int
    wire_bytes: int


class ShaperRow(msgspec.Struct, frozen=True, kw_only=True, tag="row"):
    """Counters of the shaped path since the shaper began; the lines that come unasked, every `ROW_NS`.

    Attributes:
        t_ns: on this machine's monotonic clock.
        up_bytes: of the IP packets that left towards the cloud, with headers, acknowledgements and what was lost.
        down_bytes: the same towards the edge.
        retransmits: packets sent again, both ways.
        rtt_ms: what a small packet would take there and back now, the way from the edge to the shaper included. None
            while the link is down.
        hop_rtt_ms: that way alone, the shortest that the kernel saw of late; None without a connection.
        connections: how many there are.
        resent: packets sent again since the rows before; `MOST_RESENT` at most, so more may follow.
        late_ms: by how much the shaper was late at most since the row before, since it was not scheduled in time.
    """

    t_ns: int
    up_bytes: int
    down_bytes: int
    retransmits: int
    rtt_ms: float | None
    hop_rtt_ms: float | None
    connections: int
    late_ms: float
    resent: list[Resent] = []


Order: TypeAlias = Arm | Disturb
Word: TypeAlias = Ready | Refused | Done | ShaperRow
