"""The edge's side of a request on the link: a frame and its answer, and what that cost on the wire."""

from __future__ import annotations

from typing import NamedTuple

from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.client import DataClient
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.keys import KeyPair
from testbed.link.kinds import Kind
from testbed.link.tcpinfo import ConnectionMeter, Counters

MAX_RESULT_BYTES = 1 << 20


class Wire(NamedTuple):
    """Bytes on the wire, headers of TCP and IP included."""

    up_bytes: int
    down_bytes: int


class Uplink:
    """An edge's data plane, connected and metered.

    Attributes:
        counters: of the connection, at the last reading.

    Raises:
        LinkError: the cloud cannot be reached before the deadline, or refuses.
    """

    def __init__(self, endpoint: str, keys: KeyPair | None, server_public_key: str | None, deadline: Deadline) -> None:
        self._client = DataClient(endpoint, keys, server_public_key)
        try:
            self._client.connect(deadline)
            self._meter = ConnectionMeter(endpoint)
        except LinkError:
            self._client.close()
            raise
        self.counters: Counters = self._meter.read()

    def ask(self, data: bytes, about: tuple[int, int], deadline: Deadline) -> Frame:
        """Send a packed frame and wait for the answer about that request and timestep.

        Late answers about others are passed over.

        Raises:
            LinkTimeout: there is none before the deadline.
            LinkError: the connection broke, or what came is no frame.
        """
        reply = self._client.request(data, deadline)
        while True:
            answer = frames.unpack(reply, MAX_RESULT_BYTES)
            if (answer.request, answer.timestep) == about:
                return answer
            reply = self._client.recv(deadline)

    def end(self, request: int) -> None:
        """Tell the cloud that a request is over early, if that can be said at once; else it forgets by itself."""
        self._client.offer(frames.pack(Frame(Kind.END, request)))

    def renew(self) -> None:
        """Make a new connection: this one is stalled, or holds answers that nobody waits for any more."""
        self._meter.give_up()
        self._client.renew()

    def spent(self) -> Wire:
        """What was on the wire since the last reading.

        Raises:
            LinkError: a connection was lost meanwhile, and its counters with it.
        """
        before = self.counters
        self.counters = self._meter.read()
        return Wire(self.counters.tx_bytes - before.tx_bytes, self.counters.rx_bytes - before.rx_bytes)

    def close(self) -> None:
        """Hang up; more than once does no harm."""
        self._client.close()
