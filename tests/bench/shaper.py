"""The shaper in user space: what it costs when it shapes nothing, how exactly it shapes, and how much it carries.

Rates count IP packets, as links do: what arrived, times 1500 / 1448 for the headers of full packets.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from multiprocessing.connection import Connection
from statistics import median

import psutil

from devices.links.conditions import Capacity, Direction, Link
from testbed.link.shaping.budget import ByteBudget
from testbed.link.shaping.talk import ShaperRow
from testbed.link.shaping.user import UserShaper

SIZES = (64, 64 * 1024)
BLOCKS, PER_BLOCK = 12, 100
RATES = ((0.1, 6.0), (1.0, 4.0), (10.0, 3.0), (100.0, 3.0))
RATE_TARGET = 0.03
DELAYS_MS = (0.0, 1.0, 10.0, 100.0)
DELAY_TARGET_MS = 1.0
TRACE_S, TRACE_TARGET = 20, 0.05
TRIED_MBIT_S = (200.0, 400.0, 800.0, 1600.0)
CARRIED_S = 2.0
MESSAGES = 100_000
WIRE = 1500 / 1448
PACKET_BYTES = 1500
WARM_S = 0.3


class Shaped:
    """A shaper before a peer in a process of its own that echoes ('e'), swallows ('s') or pours ('p')."""

    def __init__(self, link: Link) -> None:
        self.rows: list[ShaperRow] = []
        processes = multiprocessing.get_context("spawn")
        self._pipe, there = processes.Pipe()
        self._peer = processes.Process(target=_serve, args=(there,), daemon=True)
        self._peer.start()
        self.peer_port = int(self._pipe.recv())
        before = set(psutil.Process().children())
        self.shaper = UserShaper(link, f"tcp://127.0.0.1:{self.peer_port}", "127.0.0.1", 0, self.rows.append)
        (self.process,) = set(psutil.Process().children()) - before
        self.port = int(str(self.shaper.endpoint).rpartition(":")[2])

    def dial(self, what: bytes, *, straight: bool = False) -> socket.socket:
        """Connect through the shaper, or straight to the peer."""
        connection = socket.create_connection(("127.0.0.1", self.peer_port if straight else self.port), 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(what)
        return connection

    def swallowed(self) -> list[tuple[int, int]]:
        """When, in ns, the peer had swallowed how many bytes, once its connection has ended."""
        return list(self._pipe.recv())

    def close(self) -> None:
        """End both."""
        self.shaper.check()
        self.shaper.close()
        self._peer.terminate()
        self._peer.join()


def run() -> None:
    """Print all tables, which takes two minutes."""
    unshaped()
    print()
    rates()
    print()
    delays()
    print()
    trace()
    print()
    carried()
    print()
    memory()


def unshaped() -> None:
    """Round trips through a shaper that has nothing to shape, and without it, in turns."""
    print("Round trip over TCP: straight, and through a shaper without conditions (two hops more each way)")
    print(f"{'message':>8} {'straight us':>12} {'shaper us':>10} {'added us':>9}")
    with _shaped(_link()) as peers, peers.dial(b"e", straight=True) as straight, peers.dial(b"e") as through:
        for size in SIZES:
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(BLOCKS):
                for connection, spent in zip((straight, through), times, strict=True):
                    spent += [_round_trip_ms(connection, size) for _ in range(PER_BLOCK)]
            bare, ours = (1000 * median(spent) for spent in times)
            print(f"{size:>7}B {bare:>12.1f} {ours:>10.1f} {ours - bare:>9.1f}")


def rates() -> None:
    """A sender that always has more, for some seconds, in each direction alone."""
    print(f"Rate; target: within {RATE_TARGET:.0%}")
    print(
        f"{'asked Mbit/s':>13} {'way':>5} {'had Mbit/s':>11} {'error':>8} {'late p50 ms':>12} {'worst':>7} {'core':>6}"
    )
    for mbit_s, seconds in RATES:
        for way in ("up", "down"):
            with _shaped(_link(mbit_s)) as peers:
                busy_s, started = sum(peers.process.cpu_times()[:2]), time.monotonic()
                seen = _pour(peers, seconds) if way == "up" else _drink(peers, seconds)
                core = (sum(peers.process.cpu_times()[:2]) - busy_s) / (time.monotonic() - started)
                late = [row.late_ms for row in peers.rows]
            had = _mbit_s(seen)
            error = had / mbit_s - 1
            print(
                f"{mbit_s:>13g} {way:>5} {had:>11.4g} {error:>+8.2%} {median(late):>12.3f} {max(late):>7.2f} "
                f"{core:>6.1%} {'met' if abs(error) <= RATE_TARGET else 'MISSED'}"
            )


def delays() -> None:
    """Round trips of 64 bytes with a delay each way, beside those straight to the peer."""
    print(f"Delay, both ways together, less that of the straight way; target: within {DELAY_TARGET_MS:g} ms")
    heads = (f"{head:>10}" for head in ("p50 ms", "p95 ms", "worst ms"))
    print(f"{'asked ms':>9}{''.join(heads)} {'error of p50':>13} {'late p50':>9} {'core':>6}")
    for delay_ms in DELAYS_MS:
        with (
            _shaped(_link(100.0, delay_ms=delay_ms)) as peers,
            peers.dial(b"e", straight=True) as straight,
            peers.dial(b"e") as through,
        ):
            count = 2000 if not delay_ms else 200 if delay_ms < 50 else 30
            bare_ms = median(_round_trip_ms(straight, 64) for _ in range(count))
            busy_s, started = sum(peers.process.cpu_times()[:2]), time.monotonic()
            trips = sorted(_round_trip_ms(through, 64) - bare_ms for _ in range(count))
            core = (sum(peers.process.cpu_times()[:2]) - busy_s) / (time.monotonic() - started)
            late = median([row.late_ms for row in peers.rows if row.late_ms] or [0.0])
        error = median(trips) - 2 * delay_ms
        shown = (median(trips), trips[int(0.95 * count)], trips[-1])
        columns = "".join(f"{each:>10.3f}" for each in shown)
        verdict = "met" if abs(error) <= DELAY_TARGET_MS else "MISSED"
        print(f"{2 * delay_ms:>9g}{columns} {error:>+13.3f} {late:>9.3f} {core:>6.1%} {verdict}")


def trace() -> None:
    """A made-up LTE trace: the rate walks between 0.3 and 40 Mbit/s, with two pauses."""
    walk = random.Random(0)
    mbit_s = [10.0]
    for _ in range(10 * TRACE_S - 1):
        mbit_s.append(min(40.0, max(0.3, mbit_s[-1] * walk.lognormvariate(0, 0.25))))
    for pause in (60, 130):
        mbit_s[pause : pause + 8] = [0.0] * 8
    steps = [round(rate * 12_500) for rate in mbit_s]
    capacity = Capacity(ms=list(range(0, 1000 * TRACE_S + 1, 100)), bytes=[0, *accumulate(steps)])
    asked = ByteBudget(capacity, 0)
    link = Link(name="trace", technology="lte", up=Direction(capacity=capacity), down=Direction())
    with _shaped(link) as peers:
        peers.shaper.arm()
        start_ns = time.monotonic_ns()
        seen = [(t_ns - start_ns, total) for t_ns, total in _pour(peers, TRACE_S - 0.2)]
    errors, missed = [], 0
    for end_ns, total in seen:
        if end_ns >= 1e9:
            begin_ns, before = seen[bisect_left(seen, (end_ns - 1_000_000_000, 0))]
            wanted, had = asked.at(end_ns) - asked.at(begin_ns), (total - before) * WIRE
            missed += abs(had - wanted) > TRACE_TARGET * wanted + PACKET_BYTES
            if wanted > 100_000:
                errors.append(abs(had / wanted - 1))
    errors.sort()
    print(f"A trace, any second of it ({len(errors)} of them); target: within {TRACE_TARGET:.0%} or one packet")
    print(f"error p50 {median(errors):.2%}, p99 {errors[int(0.99 * len(errors))]:.2%}, worst {errors[-1]:.2%}")
    print(f"seconds off the target: {missed} {'met' if not missed else 'MISSED'}")


def carried() -> None:
    """How far the rate goes, one connection, up."""
    print(f"The largest rate; carried where it is within {RATE_TARGET:.0%}")
    print(f"{'asked Mbit/s':>13} {'had Mbit/s':>11} {'core':>6}")
    for mbit_s in (*TRIED_MBIT_S, None):
        with _shaped(_link(mbit_s)) as peers:
            busy_s, started = sum(peers.process.cpu_times()[:2]), time.monotonic()
            had = _mbit_s(_pour(peers, CARRIED_S))
            core = (sum(peers.process.cpu_times()[:2]) - busy_s) / (time.monotonic() - started)
        verdict = "" if mbit_s is None else "carried" if abs(had / mbit_s - 1) <= RATE_TARGET else "not carried"
        print(f"{'none' if mbit_s is None else f'{mbit_s:g}':>13} {had:>11.0f} {core:>6.1%} {verdict}")


def memory() -> None:
    """Resident memory and open files while many small messages go there and back."""
    print(f"Memory over {MESSAGES} round trips of 64 bytes, with jitter and losses")
    print(f"{'messages':>9} {'RSS MiB':>8} {'files':>6}")
    direction = Direction(capacity=_constant(100.0), jitter_ms=0.01, loss=0.001)
    with (
        _shaped(Link(name="soak", technology="other", up=direction, down=direction)) as peers,
        peers.dial(b"e") as link,
    ):
        for count in range(MESSAGES + 1):
            if count % (MESSAGES // 4) == 0:
                print(f"{count:>9} {peers.process.memory_info().rss / 2**20:>8.1f} {peers.process.num_fds():>6}")
            _round_trip_ms(link, 64)


def _constant(mbit_s: float) -> Capacity:
    return Capacity(ms=[0, 1000], bytes=[0, round(mbit_s * 125_000)])


def _link(mbit_s: float | None = None, delay_ms: float = 0.0) -> Link:
    direction = Direction(capacity=None if mbit_s is None else _constant(mbit_s), delay_ms=delay_ms)
    return Link(name="bench", technology="other", up=direction, down=direction)


@contextmanager
def _shaped(link: Link) -> Iterator[Shaped]:
    peers = Shaped(link)
    try:
        yield peers
    finally:
        peers.close()


def _pour(peers: Shaped, seconds: float) -> list[tuple[int, int]]:
    """Send as much as goes; gives when the peer had got how much."""
    block, end = bytes(1 << 16), time.monotonic() + seconds
    with peers.dial(b"s") as connection:
        connection.settimeout(0.05)
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                connection.send(block)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    end_ns = time.monotonic_ns()
    return [(t_ns, total) for t_ns, total in peers.swallowed() if t_ns <= end_ns]


def _drink(peers: Shaped, seconds: float) -> list[tuple[int, int]]:
    """Receive what the peer pours, and when."""
    buffer, seen = bytearray(1 << 20), [(time.monotonic_ns(), 0)]
    with peers.dial(b"p") as connection:
        end_ns = seen[0][0] + round(seconds * 1e9)
        while seen[-1][0] < end_ns:
            size = connection.recv_into(buffer)
            seen.append((time.monotonic_ns(), seen[-1][1] + size))
    return seen[1:]


def _mbit_s(seen: list[tuple[int, int]]) -> float:
    """From the first arrival after warming up to the last."""
    first = bisect_left(seen, (seen[0][0] + round(WARM_S * 1e9), 0))
    (begin_ns, before), (end_ns, total) = seen[first], seen[-1]
    return (total - before) * WIRE * 8e3 / (end_ns - begin_ns)


def _round_trip_ms(connection: socket.socket, size: int) -> float:
    message, start_ns = bytes(size), time.perf_counter_ns()
    connection.sendall(message)
    while size:
        size -= len(connection.recv(size))
    return (time.perf_counter_ns() - start_ns) / 1e6


def _serve(pipe: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, pipe), daemon=True).start()


def _answer(connection: socket.socket, pipe: Connection) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(OSError):
        what = connection.recv(1)
        if what == b"e":
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        elif what == b"p":
            while True:
                connection.sendall(bytes(1 << 16))
        else:
            buffer, seen, total = bytearray(1 << 20), [], 0
            with contextlib.suppress(OSError):
                while size := connection.recv_into(buffer):
                    total += size
                    seen.append((time.monotonic_ns(), total))
            pipe.send(seen)


if __name__ == "__main__":
    run()
