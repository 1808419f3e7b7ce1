"""A shaped path in both directions: what an edge and its cloud have between them, without sockets or a clock."""

from __future__ import annotations

from typing import Literal, TypeAlias

from devices.links.conditions import Link
from testbed.link.shaping.packets import IPV4_HEADER_BYTES, Flow
from testbed.link.shaping.shaper import Disturbance
from testbed.link.shaping.way import Way

Side: TypeAlias = Literal["up", "down"]


class Path:
    """Both directions of a link on the caller's clock, whose times never go back from call to call.

    The model of TCP: bytes travel in packets of at most the link's MTU, of which `header` bytes are headers. For every
    second packet of a connection that arrives, a pure acknowledgement of `header` bytes takes the other direction, as
    with delayed acknowledgements (RFC 5681, section 4.2). Headers, acknowledgements and resent packets all need
    capacity. Acknowledgements are not lost and have no jitter, since the next one covers each.

    A link's `queue_ms` says how far ahead bytes are taken in (100 ms where it says nothing, 10 ms at least, and two
    packets always). More is not dropped: the rest waits in the sender's kernel, as TCP's window has it.

    What TCP would add and this leaves out: slow start and the congestion window (a connection of the data plane stays
    open and warm), handshakes of connections, the retransmission timeout of a packet behind which nothing was sent,
    and acknowledgements that ride on data.

    Attributes:
        up: from edge to cloud.
        down: from cloud to edge.
    """

    def __init__(self, link: Link, now_ns: int, header: int = IPV4_HEADER_BYTES) -> None:
        self.up = Way(link.up, f"{link.seed} up", link.mtu, header, now_ns)
        self.down = Way(link.down, f"{link.seed} down", link.mtu, header, now_ns)
        self.up.other, self.down.other = self.down, self.up
        self._armed = False

    def way(self, side: Side) -> Way:
        """One of the two."""
        return self.up if side == "up" else self.down

    def push(self, side: Side, flow: Flow, payload: int, now_ns: int) -> None:
        """Take in bytes of a flow (0: its end), after `advance` to the same moment."""
        if self._armed and side == "up" and payload:
            self._armed = False
            self.up.restart(now_ns)
            self.down.restart(now_ns)
        self.way(side).push(flow, payload, now_ns)

    def advance(self, now_ns: int) -> list[tuple[int, Flow, int]]:
        """Let pass what passes until now; gives what arrived: the moment, the flow, its bytes (0: its end)."""
        up, down = self.up, self.down
        while True:
            way = up if up.due_ns <= down.due_ns else down
            if way.due_ns > now_ns:
                break
            way.step()
        handed = up.handed + down.handed
        up.handed.clear()
        down.handed.clear()
        return handed

    def wake_ns(self) -> int:
        """Nothing arrives before this moment, unless more is pushed."""
        return min(self.up.wake_ns(), self.down.wake_ns())

    def arm(self) -> None:
        """Begin the link's time anew with the next bytes from the edge."""
        self._armed = True

    def disturb(self, disturbance: Disturbance, now_ns: int) -> None:
        """Replace the disturbance, after `advance` to the same moment. What has left already arrives all the same."""
        self.up.disturb(disturbance, now_ns)
        self.down.disturb(disturbance, now_ns)

    def rtt_ns(self, now_ns: int) -> int | None:
        """How long a small packet would take there and back now, with its waiting; None while the link is down."""
        there, back = self.up.small_packet_ns(now_ns), self.down.small_packet_ns(now_ns)
        return None if there is None or back is None else there + back
