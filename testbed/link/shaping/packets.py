"""What TCP makes of a stream of bytes: packets with headers, in the order of their connection."""

from __future__ import annotations

from collections import deque

import msgspec

IPV4_HEADER_BYTES = 20 + 20 + 12
"""IPv4, TCP, and TCP's timestamps with their padding (RFC 7323), which Linux negotiates by default."""

IPV6_HEADER_BYTES = 40 + 20 + 12


class Flow:
    """One way of one connection: its packets that have not been handed on, in order.

    Attributes:
        name: of the connection, as its edge has it.
        order: packets from the first that is not handed on.
        tail: the last one while it still waits and has room, to be filled up.
        segments: how many arrived, for every second of which an acknowledgement goes back.
        taken: bytes taken in since it began.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.order: deque[Packet] = deque()
        self.tail: Packet | None = None
        self.segments = self.taken = 0

    def abandon(self) -> None:
        """Hand on nothing more; what is under way still takes its room on the link."""
        self.order.clear()
        self.tail = None


class Packet(msgspec.Struct, gc=False):
    """One IP packet. Without a flow it is a pure acknowledgement; without payload it ends its flow.

    Attributes:
        payload: bytes of the stream.
        wire: bytes of the packet.
        at: offset of its first byte in the stream.
        landed: it has arrived, and waits only for those before it.
        resent: it was lost before.
    """

    flow: Flow | None
    payload: int
    wire: int
    at: int = 0
    landed: bool = False
    resent: bool = False
