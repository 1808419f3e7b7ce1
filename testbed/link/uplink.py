"""The edge's side of a request on the link: a frame and its answer, and what that cost on the wire."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.client import DataClient
from testbed.link.connectionmeter import ConnectionMeter
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.keys import KeyPair
from testbed.link.kinds import FrameError, Kind
from testbed.link.sockets import framing_bytes
from testbed.link.tcpinfo import Counters

MAX_RESULT_BYTES = 1 << 20
MOST_PROBES_UNDER_WAY = 32
"""Half of the queues' high-water mark, so that no echo is dropped for want of room."""


class Wire(NamedTuple):
    """Bytes on the wire, headers of TCP and IP included."""

    up_bytes: int
    down_bytes: int


class Late(NamedTuple):
    """An answer that nobody waited for any more, and what it cost."""

    request: int
    timestep: int
    cloud_ns: int
    payload_bytes: int


class Uplink:
    """An edge's data plane, connected and metered.

    Attributes:
        counters: of the connection, at the last reading of `spent`.
        place: how far the connection then was.
        peer: the IP address at the other end.
        framing_bytes: what our header, ZMTP and CURVE add to a payload that is not small.

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
        self.place = self._meter.place
        self.peer = self._meter.peer
        self.framing_bytes = frames.HEADER_BYTES + framing_bytes(curve=keys is not None)
        self._late: list[Late] = []

    def send(self, data: bytes, deadline: Deadline, *, awaiting: bool = False) -> None:
        """Send a packed frame; `awaiting` where answers to earlier ones of its request are still to come.

        Raises:
            LinkTimeout: it could not be sent before the deadline.
            LinkError: the connection broke while answers were awaited, or cannot be used.
        """
        self._client.send(data, deadline, awaiting=awaiting)

    def answer(self, about: tuple[int, int], deadline: Deadline) -> Frame:
        """Wait for the answer about that request and timestep; others are passed over.

        Raises:
            LinkTimeout: there is none before the deadline.
            LinkError: the connection broke, or what came is no frame.
        """
        while (answer := self._sorted(self._client.recv(deadline), about)) is None:
            pass
        return answer

    def answer_there(self, about: tuple[int, int]) -> Frame | None:
        """The answer about that request and timestep if it is there; does not wait. Others are passed over.

        Raises:
            LinkError: the connection broke since the last look, or what came is no frame.
        """
        while (reply := self._client.look()) is not None:
            if (answer := self._sorted(reply, about)) is not None:
                return answer
        return None

    def take_late(self) -> list[Late]:
        """The answers that nobody waited for any more and that were passed over since the last call."""
        late, self._late = self._late, []
        return late

    def probe(self, number: int, up_bytes: int, down_bytes: int, deadline: Deadline) -> tuple[int, int]:
        """Have the cloud answer at once with so many bytes: when the probe was sent and its echo came, in ns.

        Raises:
            LinkTimeout: there is no echo before the deadline.
            LinkError: the connection broke.
        """
        data = frames.pack(Frame(Kind.PROBE, number, payload=frames.pack_probe(up_bytes, down_bytes)))
        start_ns = time.monotonic_ns()
        reply = self._client.request(data, deadline)
        while True:
            end_ns = time.monotonic_ns()
            if self._echo(reply) == number:
                return start_ns, end_ns
            reply = self._client.recv(deadline)

    def volley(self, numbers: Sequence[int], up_bytes: int, down_bytes: int, deadline: Deadline) -> list[int]:
        """Send a probe for each number as fast as the link takes them; returns when each echo came, in ns.

        Raises:
            LinkTimeout: an echo is missing at the deadline.
            LinkError: the connection broke.
        """
        payload = frames.pack_probe(up_bytes, down_bytes)
        waiting = [frames.pack(Frame(Kind.PROBE, number, payload=payload)) for number in reversed(numbers)]
        due, came = set(numbers), dict[int, int]()
        while due:
            while waiting and len(due) - len(waiting) < MOST_PROBES_UNDER_WAY:
                self._client.send(waiting.pop(), deadline)
            number = self._echo(self._client.recv(deadline))
            if number in due:
                came[number] = time.monotonic_ns()
                due.remove(number)
        return [came[number] for number in numbers]

    def send_probe(self, number: int) -> bool:
        """Ask for an empty echo, if that is possible at once; returns whether it was.

        Raises:
            LinkError: the connection cannot be used.
        """
        self._client.catch_up()
        return self._client.offer(frames.pack(Frame(Kind.PROBE, number, payload=frames.pack_probe(0, 0))))

    def has_echo(self, number: int) -> bool:
        """Whether the echo of a probe is there; does not wait. What else is there is late.

        Raises:
            LinkError: the connection broke since the last look, or what came is no frame.
        """
        while (reply := self._client.take()) is not None:
            if self._echo(reply) == number:
                return True
        return False

    def end(self, request: int) -> bool:
        """Tell the cloud that a request is over early, if that can be said at once; else it forgets by itself.

        Returns whether it was said.
        """
        return self._client.offer(frames.pack(Frame(Kind.END, request)))

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
        try:
            self.counters = self._meter.read()
        except LinkError:
            self.counters = self._meter.last  # what a glance saw of the lost one is not the next request's
            raise
        finally:
            self.place = self._meter.place
        return Wire(self.counters.tx_bytes - before.tx_bytes, self.counters.rx_bytes - before.rx_bytes)

    def glance(self) -> Counters | None:
        """The connection's counters now, for a record beside the requests; None while it is down. From any thread."""
        return self._meter.glance()

    def close(self) -> None:
        """Hang up; more than once does no harm."""
        self._client.close()

    def _sorted(self, reply: bytes, about: tuple[int, int]) -> Frame | None:
        """The frame in a reply if it is the answer about that request and timestep."""
        answer = frames.unpack(reply, MAX_RESULT_BYTES)
        if (answer.request, answer.timestep) == about and answer.kind is not Kind.ECHO:
            return answer
        if answer.request != about[0]:
            self._pass_over(answer)
        return None

    def _echo(self, reply: bytes) -> int | None:
        """The number of the probe that a reply is the echo of."""
        answer = frames.unpack(reply, MAX_RESULT_BYTES)
        if answer.kind is Kind.ECHO:
            return answer.request
        self._pass_over(answer)
        return None

    def _pass_over(self, answer: Frame) -> None:
        if answer.kind is not Kind.RESULT:
            return
        try:
            cloud_ns = frames.unpack_duration(answer.payload)
        except FrameError:  # a damaged one is nobody's either, and must not harm the request that runs
            return
        self._late.append(Late(answer.request, answer.timestep, cloud_ns, len(answer.payload)))
