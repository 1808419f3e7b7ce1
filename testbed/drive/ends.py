"""Both ends of a connection through a shaper, in one process: how fast a direction is, and how late messages are."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from typing import TypeAlias
from urllib.parse import urlsplit

from devices.links.conditions import Link
from devices.links.spec import Way
from testbed.errors import LinkError
from testbed.link.shaping.packets import IPV4_HEADER_BYTES
from testbed.link.shaping.user import UserShaper

Times: TypeAlias = list[tuple[float, float]]
"""Of each message that arrived: when it was sent, and when it came; in ms of the link's time."""

CHUNK_BYTES = 1 << 16
PATIENCE_S = 0.2
"""How often one who waits for a socket looks at the clock."""

PROBE = struct.Struct("=Qq")
PROBE_BYTES = PROBE.size + IPV4_HEADER_BYTES
LEAST_PROBES = 5
PROBES_S = 5.0
LEAST_INTERVAL_MS = 20.0
PROBE_SHARE = 0.2
"""Of the slower direction's mean rate, which probes may take: with more they would wait for each other."""

LAST_ANSWERS_S = 5.0
"""Beyond the link's delays; a probe that comes later met an outage."""


class _Ends(ExitStack):
    """A connection through a shaper of its own; the link's time begins with the first bytes from the edge."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        try:
            listener = self.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
            self.shaper = UserShaper(link, f"tcp://127.0.0.1:{port}", "127.0.0.1", 0, lambda row: None)
            self.callback(self.shaper.close)
            endpoint = urlsplit(self.shaper.endpoint or "")
            self.edge = self.enter_context(socket.create_connection((endpoint.hostname, endpoint.port)))
            listener.settimeout(LAST_ANSWERS_S)
            self.cloud = self.enter_context(listener.accept()[0])
            for end in (self.edge, self.cloud):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(PATIENCE_S)
            self.shaper.arm()
        except BaseException:
            self.close()
            raise


def fill(link: Link, way: Way, seconds: int) -> list[int]:
    """Keep a direction full: the payload that arrived in each second of the link's time, as the far end counted it.

    Raises:
        LinkError: the shaper did not start, or ended.
    """
    with _Ends(link) as ends:
        near, far = (ends.edge, ends.cloud) if way == "up" else (ends.cloud, ends.edge)
        over = threading.Event()
        start_ns = time.monotonic_ns()
        if way == "down":
            ends.edge.send(b"\0")
        sender = threading.Thread(target=_send_on, args=(near, over), daemon=True)
        sender.start()
        try:
            # What left in a second arrives one delay later.
            return _receive(far, start_ns + round(1e6 * (link.up if way == "up" else link.down).delay_ms), seconds)
        except OSError as error:
            ends.shaper.check()
            raise LinkError(f"link {link.name}: the connection through its shaper broke: {error}") from error
        finally:
            over.set()
            sender.join()


def _send_on(near: socket.socket, over: threading.Event) -> None:
    chunk = bytes(CHUNK_BYTES)
    while not over.is_set():
        try:
            near.send(chunk)
        except TimeoutError:  # noqa: PERF203  (to look at the event)
            continue
        except OSError:
            return


def _receive(far: socket.socket, start_ns: int, seconds: int) -> list[int]:
    each = [0] * seconds
    room = bytearray(4 * CHUNK_BYTES)
    while True:
        got = 0
        try:
            got = far.recv_into(room)
            if not got:
                raise ConnectionResetError("it was closed")
        except TimeoutError:
            pass
        second = (time.monotonic_ns() - start_ns) // 1_000_000_000
        if second >= seconds:
            return each
        each[max(0, second)] += got


def probe(link: Link, seconds: float) -> dict[Way, Times]:
    """Send small messages there for so many seconds, each answered by one: when those that arrived were on their way.

    Raises:
        LinkError: the shaper did not start, or ended.
    """
    interval_ms = _interval_ms(link)
    count = max(LEAST_PROBES, int(1000 * seconds / interval_ms))
    times: dict[Way, Times] = {"up": [], "down": []}
    with _Ends(link) as ends:
        start_ns = time.monotonic_ns()
        answering = threading.Thread(target=_hear, args=(ends.cloud, start_ns, count, times["up"], True), daemon=True)
        hearing = threading.Thread(target=_hear, args=(ends.edge, start_ns, count, times["down"], False), daemon=True)
        for thread in (answering, hearing):
            thread.start()
        try:
            for number in range(count):
                due_s = (start_ns + 1e6 * interval_ms * number - time.monotonic_ns()) / 1e9
                time.sleep(max(0.0, due_s))
                ends.edge.sendall(PROBE.pack(number, time.monotonic_ns()))
        except OSError as error:
            ends.shaper.check()
            raise LinkError(f"link {link.name}: the connection through its shaper broke: {error}") from error
        hearing.join(LAST_ANSWERS_S + (link.up.delay_ms + link.down.delay_ms) / 1000)
        for end in (ends.edge, ends.cloud):
            # Whoever still waits in a thread of its own is woken by this.
            end.shutdown(socket.SHUT_RDWR)
        for thread in (answering, hearing):
            thread.join()
    return times


def _interval_ms(link: Link) -> float:
    """Far enough apart for no probe to meet another: neither its bytes nor its jitter."""
    slowest = min(
        (way.capacity.mean_bytes_per_s for way in (link.up, link.down) if way.capacity is not None), default=1e9
    )
    return max(
        LEAST_INTERVAL_MS,
        1000 * PROBE_BYTES / slowest / PROBE_SHARE,
        6 * max(link.up.jitter_ms, link.down.jitter_ms),
    )


def _hear(end: socket.socket, start_ns: int, count: int, times: Times, answer: bool) -> None:
    """Note when messages come, until all are there or the connection is shut."""
    rest = b""
    while len(times) < count:
        try:
            data = end.recv(CHUNK_BYTES)
        except TimeoutError:
            continue
        except OSError:
            return
        if not data:
            return
        now_ns = time.monotonic_ns()
        rest += data
        while len(rest) >= PROBE.size:
            number, sent_ns = PROBE.unpack(rest[: PROBE.size])
            rest = rest[PROBE.size :]
            times.append(((sent_ns - start_ns) / 1e6, (now_ns - start_ns) / 1e6))
            if answer:
                end.sendall(PROBE.pack(number, time.monotonic_ns()))
