"""Connections through a shaped path: bytes wait here for as long as the path takes."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from itertools import islice

from devices.links.conditions import Link
from testbed.link.shaping import hop
from testbed.link.shaping.packets import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Flow
from testbed.link.shaping.path import Path, Side
from testbed.link.shaping.shaper import Disturbance
from testbed.link.shaping.talk import MOST_RESENT, Resent, ShaperRow
from testbed.link.shaping.way import Way

MAX_CONNECTIONS = 160
"""More are turned away. It is above the bound of the cloud's own socket, which so decides by itself who has to go."""

WINDOW_BYTES = 4 * 1024 * 1024
"""Of one way of a connection, on its way or not read by the receiver yet; as much as Linux lets TCP send ahead."""

HELD_BYTES = 64 * 1024 * 1024
"""Of all connections; beyond this each may have one read more, so that none holds up the others."""

READ_BYTES = 64 * 1024

QUANTUM_NS = 300_000
"""While packets follow closely on each other, it wakes no oftener than this, and lets go together what is due."""

EARLY_NS = 150_000
"""It wakes so long before something is due and looks at the clock until then, since a core that slept wakes late."""


class Pipe:
    """One way of a connection: bytes come from `source`, travel, and go out through `sink`; `opposite` is the other."""

    opposite: Pipe

    def __init__(self, side: Side, source: socket.socket, sink: socket.socket, name: str) -> None:
        self.side, self.source, self.sink = side, source, sink
        self.flow = Flow(name)
        self.held = bytearray()
        self.due = 0
        self.blocked = self.read_out = self.ended = self.over = False

    def write(self) -> int:
        """Hand on what is due, as far as the kernel takes it; returns how much."""
        sent = 0
        if self.due and not self.over:
            try:
                with memoryview(self.held) as held, held[: self.due] as due:
                    sent = self.sink.send(due)
            except BlockingIOError:
                pass
            except OSError:
                return self.give_up()
            del self.held[:sent]
            self.due -= sent
        self.blocked = self.due > 0
        if self.ended and not self.due and not self.over:
            self.over = True
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)
        return sent

    def give_up(self) -> int:
        """Nobody receives it any more; returns how many bytes were held."""
        dropped = len(self.held)
        self.held.clear()
        self.flow.abandon()
        self.due = 0
        self.blocked, self.over = False, True
        return dropped


class Connection:
    """Both ways between an edge and its cloud."""

    def __init__(self, edge: socket.socket, cloud: socket.socket) -> None:
        name = hop.name_of(edge)
        self.up, self.down = Pipe("up", edge, cloud, name), Pipe("down", cloud, edge, name)
        self.up.opposite, self.down.opposite = self.down, self.up

    @property
    def pipes(self) -> tuple[Pipe, Pipe]:
        """Both."""
        return self.up, self.down

    @property
    def over(self) -> bool:
        """Nothing more will pass."""
        return self.up.over and self.down.over

    def close(self) -> int:
        """Returns how many bytes were held."""
        self.up.source.close()
        self.down.source.close()
        return self.up.give_up() + self.down.give_up()


class Relay:
    """Accepts connections, makes one to the cloud for each, and moves bytes as the path lets them pass.

    Nothing is ever dropped: where the path takes no more, the relay reads no more, and TCP holds the sender back.

    Attributes:
        path: what shapes; all times are of the monotonic clock.
        port: where it listens.
    """

    def __init__(self, link: Link, address: str, port: int, cloud: tuple[str, int]) -> None:
        header = IPV6_HEADER_BYTES if ":" in address else IPV4_HEADER_BYTES
        self.path = Path(link, time.monotonic_ns(), header)
        self._receive_down = hop.receive_bytes(link.down)
        self._listener = hop.listening(address, port, link.mtu, hop.receive_bytes(link.up))
        self.port: int = self._listener.getsockname()[1]
        self._cloud = cloud
        self._connections: list[Connection] = []
        self._pipes: dict[Flow, Pipe] = {}
        self._heard: socket.socket | None = None
        self._held = 0
        self._handed_ns = self._busy_until_ns = self._late_ns = 0

    def turn(self, until_ns: int, orders: int) -> bool:
        """Move what is there to move, waiting for it until `until_ns` at most; says whether `orders` can be read."""
        sources: dict[socket.socket, Pipe] = {}
        sinks: dict[socket.socket, Pipe] = {}
        now_ns = time.monotonic_ns()
        for connection in self._connections:
            for pipe in connection.pipes:
                if pipe.blocked:
                    sinks[pipe.sink] = pipe
                if not pipe.read_out and not pipe.over:
                    if self._room(pipe, now_ns):
                        sources[pipe.source] = pipe
                    else:
                        until_ns = min(until_ns, now_ns + self.path.way(pipe.side).look_ns)
        due_ns = max(self.path.wake_ns() - EARLY_NS, self._busy_until_ns)
        timeout_s = max(0, min(until_ns, due_ns) - time.monotonic_ns()) / 1e9
        waiting: list[int | socket.socket] = [orders, self._listener, *sources]
        readable, writable, _ = select.select(waiting, list(sinks), [], timeout_s)
        now_ns = time.monotonic_ns()
        self._hand_on(now_ns)
        for sink in writable:
            self._held -= sinks[sink].write()
        for ready in readable:
            if ready is self._listener:
                self._accept()
            elif isinstance(ready, socket.socket):
                self._read(sources[ready], now_ns)
        self._hand_on(now_ns)
        self._clear()
        return orders in readable

    def row(self) -> ShaperRow:
        """The counters now."""
        now_ns = time.monotonic_ns()
        self._hand_on(now_ns)
        up, down = self.path.up, self.path.down
        sides: tuple[tuple[Side, Way], ...] = (("up", up), ("down", down))
        path_ns = self.path.rtt_ns(now_ns)
        hop_ms = None if self._heard is None else hop.shortest_rtt_ms(self._heard)
        late_ns, self._late_ns = self._late_ns, 0
        return ShaperRow(
            t_ns=now_ns,
            up_bytes=up.wire_bytes,
            down_bytes=down.wire_bytes,
            retransmits=up.retransmits + down.retransmits,
            rtt_ms=None if path_ns is None else path_ns / 1e6 + (hop_ms or 0.0),
            hop_rtt_ms=hop_ms,
            connections=len(self._connections),
            late_ms=late_ns / 1e6,
            resent=[
                Resent(name, side, at, wire)
                for side, way in sides
                for name, at, wire in islice(way.again, MOST_RESENT // len(sides))
            ],
        )

    def told(self, row: ShaperRow) -> bool:
        """What was sent again is not to be told once more; says whether there is still more of it to tell."""
        for packet in row.resent:
            self.path.way(packet.side).again.popleft()
        return bool(self.path.up.again or self.path.down.again)

    def disturb(self, disturbance: Disturbance) -> int:
        """Replace the present disturbance; returns when."""
        now_ns = time.monotonic_ns()
        self._hand_on(now_ns)
        self.path.disturb(disturbance, now_ns)
        return now_ns

    def close(self) -> None:
        """End all connections."""
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _room(self, pipe: Pipe, now_ns: int) -> int:
        held = len(pipe.held)
        if held >= WINDOW_BYTES or (held and self._held >= HELD_BYTES):
            return 0
        return min(READ_BYTES, WINDOW_BYTES - held, self.path.way(pipe.side).room(now_ns))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            edge, _ = self._listener.accept()
            if len(self._connections) >= MAX_CONNECTIONS:
                edge.close()
                return
            hop.at_once(edge)
            connection = Connection(edge, hop.connecting(*self._cloud, self._receive_down))
            self._connections.append(connection)
            for pipe in connection.pipes:
                self._pipes[pipe.flow] = pipe

    def _read(self, pipe: Pipe, now_ns: int) -> None:
        room = self._room(pipe, now_ns)
        if not room or pipe.over:
            return
        try:
            data = pipe.source.recv(room)
        except BlockingIOError:
            return
        except OSError:
            # Reset: what it sent before still arrives, and it receives nothing more.
            data = b""
            self._held -= pipe.opposite.give_up()
        pipe.read_out = not data
        if data and pipe.side == "up":
            self._heard = pipe.source
        pipe.held += data
        self._held += len(data)
        self.path.push(pipe.side, pipe.flow, len(data), now_ns)

    def _hand_on(self, now_ns: int) -> None:
        """Write out what has arrived by now."""
        touched = {}
        for t_ns, flow, payload in self.path.advance(now_ns):
            pipe = self._pipes.get(flow)
            if pipe is None or pipe.over:
                continue
            self._late_ns = max(self._late_ns, now_ns - t_ns)
            pipe.due += payload
            pipe.ended = pipe.ended or not payload
            touched[flow] = pipe
        for pipe in touched.values():
            self._held -= pipe.write()
        if touched:
            if now_ns - self._handed_ns < QUANTUM_NS and self.path.wake_ns() < now_ns + QUANTUM_NS:
                self._busy_until_ns = now_ns + QUANTUM_NS
            self._handed_ns = now_ns

    def _clear(self) -> None:
        """Forget connections that are over."""
        over = [connection for connection in self._connections if connection.over]
        for connection in over:
            self._held -= connection.close()
            for pipe in connection.pipes:
                del self._pipes[pipe.flow]
            self._connections.remove(connection)
