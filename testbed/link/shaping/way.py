"""One direction of a shaped path, packet by packet, on whatever clock its caller has."""

from __future__ import annotations

import heapq
import random
from collections import deque
from itertools import count
from statistics import NormalDist

from devices.links.conditions import Direction
from testbed.link.shaping.budget import NEVER, ByteBudget
from testbed.link.shaping.packets import Flow, Packet
from testbed.link.shaping.shaper import Disturbance

QUEUE_NS = 100_000_000
"""How far ahead bytes are taken in where a link says nothing; the sender's kernel keeps the rest."""

LEAST_QUEUE_NS = 10_000_000
"""With less, the path would run dry while the process that feeds it is not scheduled."""

WAITING_PACKETS = 2
"""May always wait, however slow the link is."""

ACKS_WAITING = 64
"""As many acknowledgements wait; more are left out, since each one covers those before it."""

NO_BOUND = 1 << 40
_MS = 1_000_000


class Way:
    """Serialises packets by the capacity, first come first served; then come loss, delay and jitter.

    A packet leaves when the capacity from the start of its service has carried its bytes. Capacity that meets no packet
    is lost. A packet's delay is drawn from a normal distribution around `delay_ms` with the standard deviation
    `jitter_ms`, never below 0, and no packet overtakes another. A lost packet is known to be lost one round trip after
    it left; it then goes before all that waits. What its connection sent after it is held until it is there.

    Attributes:
        other: the opposite direction, which acknowledgements take.
        look_ns: how often to ask for `room` while there is none.
        due_ns: when `step` has something to do.
        handed: what arrived in order: when, in which flow, how many bytes (0: its end). The caller clears it.
        wire_bytes: bytes of all packets that left, with headers, acknowledgements and those that were lost.
        retransmits: packets that left once more.
        again: those packets' connections, offsets in the stream, and bytes with headers. The caller takes them out.
    """

    other: Way

    def __init__(self, direction: Direction, seed: str, mtu: int, header: int, now_ns: int) -> None:
        self._direction, self._seed, self._header = direction, seed, header
        self._most_payload = mtu - header
        self._budget = None if direction.capacity is None else ByteBudget(direction.capacity, now_ns)
        queue_ns = QUEUE_NS if direction.queue_ms is None else round(direction.queue_ms * _MS)
        self._queue_ns = max(LEAST_QUEUE_NS, queue_ns)
        self.look_ns = min(self._queue_ns // 5, QUEUE_NS // 5)
        self._random = random.Random(seed)  # noqa: S311  (jitter and losses, to be had again)
        self._jitter_ns = direction.jitter_ms * _MS
        self._disturb(Disturbance())
        self._queue: deque[Packet] = deque()
        self._waiting_bytes = self._acks_waiting = 0
        self._head: Packet | None = None
        self._position = 0.0
        self._finish_ns = NEVER
        self._landings: deque[tuple[int, Packet]] = deque()
        self._last_landing_ns = now_ns
        self._resends: list[tuple[int, int, Packet]] = []
        self._number = count()
        self.due_ns = NEVER
        self.handed: list[tuple[int, Flow, int]] = []
        self.wire_bytes = self.retransmits = 0
        self.again: deque[tuple[str, int, int]] = deque()

    def push(self, flow: Flow, payload: int, now_ns: int) -> None:
        """Take in bytes of a flow, or its end (0). Its last packet is filled up first where it still waits."""
        tail = flow.tail
        at, flow.taken = flow.taken, flow.taken + payload
        if payload and tail is not None:
            more = min(payload, self._most_payload - tail.payload)
            tail.payload += more
            tail.wire += more
            self._waiting_bytes += more
            payload -= more
            at += more
            if not payload:
                return
        packet = None
        while packet is None or payload:
            size = min(payload, self._most_payload)
            packet = Packet(flow, size, size + self._header, at)
            flow.order.append(packet)
            flow.tail = packet
            self._enqueue(packet, now_ns)
            payload -= size
            at += size

    def step(self) -> None:
        """Do what is due at `due_ns`."""
        now_ns = self.due_ns
        if self._finish_ns == now_ns:
            self._leave(now_ns)
        elif self._landings and self._landings[0][0] == now_ns:
            self._land(now_ns)
        else:
            _, _, packet = heapq.heappop(self._resends)
            packet.resent = True
            self._queue.appendleft(packet)
            self._waiting_bytes += packet.wire
            if self._head is None:
                self._serve(now_ns, idle=True)
        self._look()

    def wake_ns(self) -> int:
        """No packet arrives before this, unless more are pushed."""
        if self._landings:
            first = self._landings[0][0]
        elif self._head is None or (self._head.flow is None and self._acks_waiting == len(self._queue)):
            first = NEVER
        elif self._jitter_ns or self._finish_ns == NEVER:
            first = self._finish_ns
        else:
            first = max(self._finish_ns + self._delay_ns, self._last_landing_ns)
        return min(first, self._resends[0][0]) if self._resends else first

    def room(self, now_ns: int) -> int:
        """How many bytes it takes in now without their waiting too long; 0 until there is a fair amount of it."""
        least = WAITING_PACKETS * self._most_payload - self._waiting_bytes
        if self._budget is None:
            return NO_BOUND if not self._down else max(0, least)
        here, ahead = self._budget.at(now_ns), self._budget.at(now_ns + self._queue_ns)
        room = int(ahead - self._tail(here))
        return max(least, room if room > (ahead - here) / 4 else 0, 0)

    def small_packet_ns(self, now_ns: int) -> int | None:
        """How long a packet without payload would take from now on; None while the link is down."""
        wait_ns = 0
        if self._budget is not None:
            done_ns = self._budget.when(self._tail(self._budget.at(now_ns)) + self._header)
            if done_ns == NEVER:
                return None
            wait_ns = max(0, done_ns - now_ns)
        elif self._down:
            return None
        return wait_ns + self.mean_delay_ns

    def restart(self, now_ns: int) -> None:
        """Begin the capacity's time and the sequence of chances anew."""
        self._random.seed(self._seed)
        if self._budget is not None:
            self._budget.restart(now_ns)
        self._retime(now_ns)

    def disturb(self, disturbance: Disturbance, now_ns: int) -> None:
        """Replace the disturbance for all that has not left yet. Without a capacity there is no rate to change."""
        self._disturb(disturbance)
        if self._budget is not None:
            self._budget.set_rate(0.0 if disturbance.down else disturbance.rate, now_ns)
        self._retime(now_ns)

    @property
    def mean_delay_ns(self) -> int:
        """Of propagation with its jitter."""
        if not self._jitter_ns:
            return self._delay_ns
        normal, ratio = NormalDist(), self._delay_ns / self._jitter_ns
        return round(self._delay_ns * normal.cdf(ratio) + self._jitter_ns * normal.pdf(ratio))

    def acknowledge(self, now_ns: int) -> None:
        """Take in an acknowledgement of what arrived in the other direction."""
        if self._acks_waiting < ACKS_WAITING:
            self._acks_waiting += 1
            self._enqueue(Packet(None, 0, self._header), now_ns)

    def _disturb(self, disturbance: Disturbance) -> None:
        self._down = disturbance.down
        self._delay_ns = round((self._direction.delay_ms + disturbance.delay_ms) * _MS)

    def _enqueue(self, packet: Packet, now_ns: int) -> None:
        self._queue.append(packet)
        self._waiting_bytes += packet.wire
        if self._head is None:
            self._serve(now_ns, idle=True)
            self._look()

    def _serve(self, now_ns: int, *, idle: bool) -> None:
        """Begin with the next packet, where the one before it ended unless the link was `idle`."""
        packet = self._head = self._queue.popleft()
        self._waiting_bytes -= packet.wire
        if packet.flow is None:
            self._acks_waiting -= 1
        elif packet.flow.tail is packet:
            packet.flow.tail = None
        if self._budget is None:
            self._finish_ns = NEVER if self._down else now_ns
            return
        if idle:
            self._position = self._budget.at(now_ns)
        self._position += packet.wire
        self._finish_ns = self._budget.when(self._position)

    def _leave(self, now_ns: int) -> None:
        packet = self._head
        assert packet is not None  # noqa: S101  (it has a time at which it leaves)
        self.wire_bytes += packet.wire
        self.retransmits += packet.resent
        if packet.flow is not None:
            if packet.resent:
                self.again.append((packet.flow.name, packet.at, packet.wire))
            self._send(packet, now_ns)
        self._head, self._finish_ns = None, NEVER
        if self._queue:
            self._serve(now_ns, idle=False)

    def _send(self, packet: Packet, now_ns: int) -> None:
        if self._direction.loss and self._random.random() < self._direction.loss:
            known_ns = now_ns + self.mean_delay_ns + self.other.mean_delay_ns
            heapq.heappush(self._resends, (known_ns, next(self._number), packet))
            return
        delay_ns = self._delay_ns
        if self._jitter_ns:
            delay_ns = max(0, round(self._random.gauss(delay_ns, self._jitter_ns)))
        self._last_landing_ns = max(self._last_landing_ns, now_ns + delay_ns)
        self._landings.append((self._last_landing_ns, packet))

    def _land(self, now_ns: int) -> None:
        _, packet = self._landings.popleft()
        flow = packet.flow
        assert flow is not None  # noqa: S101  (acknowledgements do not land)
        packet.landed = True
        flow.segments += 1
        if flow.segments % 2 == 0:
            self.other.acknowledge(now_ns)
        while flow.order and flow.order[0].landed:
            self.handed.append((now_ns, flow, flow.order.popleft().payload))

    def _tail(self, here: float) -> float:
        """The position at which all that waits will have left."""
        return (here if self._head is None else self._position) + self._waiting_bytes

    def _retime(self, now_ns: int) -> None:
        if self._head is not None:
            if self._budget is None:
                self._finish_ns = NEVER if self._down else now_ns
            else:
                self._finish_ns = self._budget.when(self._position)
        self._look()

    def _look(self) -> None:
        due_ns = self._finish_ns
        if self._landings and self._landings[0][0] < due_ns:
            due_ns = self._landings[0][0]
        if self._resends and self._resends[0][0] < due_ns:
            due_ns = self._resends[0][0]
        self.due_ns = due_ns
