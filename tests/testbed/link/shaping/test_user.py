"""The shaper as a process: real sockets, and margins as wide as a busy machine needs."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import psutil
import pytest

from devices.links.conditions import Capacity, Direction, Link
from testbed.errors import LinkError
from testbed.link.client import DataClient
from testbed.link.deadline import Deadline
from testbed.link.keys import new_keypair
from testbed.link.server import DataServer
from testbed.link.shaping.budget import ByteBudget
from testbed.link.shaping.relay import MAX_CONNECTIONS
from testbed.link.shaping.shaper import Disturbance
from testbed.link.shaping.talk import ShaperRow
from testbed.link.shaping.user import UserShaper
from tests.calm import in_a_calm_moment

MS = 1_000_000
FULL = 1448
WAIT_S = 20.0
FREE = Link(name="free", technology="other", up=Direction(), down=Direction())


def constant(mbit_s: float) -> Capacity:
    return Capacity(ms=[0, 1000], bytes=[0, round(mbit_s * 125_000)])


def same_both_ways(direction: Direction, mtu: int = 1500) -> Link:
    return Link(name="made", technology="other", up=direction, down=direction, mtu=mtu)


class Shaped:
    """A shaper with a cloud behind it, and whatever connections to it a test makes."""

    def __init__(self, link: Link) -> None:
        self.rows: list[ShaperRow] = []
        self.cloud = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.cloud.settimeout(WAIT_S)
        port = self.cloud.getsockname()[1]
        self.shaper = UserShaper(link, f"tcp://127.0.0.1:{port}", "127.0.0.1", 0, self.rows.append)
        assert self.shaper.endpoint is not None
        self.port = int(self.shaper.endpoint.rpartition(":")[2])
        self._open: list[socket.socket] = [self.cloud]

    def dial(self) -> socket.socket:
        edge = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(edge)
        return edge

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """An edge's end and the cloud's."""
        edge = self.dial()
        cloud, _ = self.cloud.accept()
        cloud.settimeout(WAIT_S)
        cloud.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(cloud)
        return edge, cloud

    @property
    def process(self) -> psutil.Process:
        (process,) = (
            child for child in psutil.Process().children() if "testbed.link.shaping" in " ".join(child.cmdline())
        )
        return process

    def row(self) -> ShaperRow:
        """The first row from now on."""
        now_ns = time.monotonic_ns()
        give_up = time.monotonic() + WAIT_S
        while not self.rows or self.rows[-1].t_ns <= now_ns:
            assert time.monotonic() < give_up
            time.sleep(0.005)
        return self.rows[-1]

    def close(self) -> None:
        self.shaper.close()
        for each in self._open:
            each.close()


@contextmanager
def shaped(link: Link) -> Iterator[Shaped]:
    peers = Shaped(link)
    try:
        yield peers
    finally:
        peers.close()


def received(source: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := source.recv(size - len(data))):
        data += piece
    return bytes(data)


def sending(sink: socket.socket, data: bytes) -> None:
    """Send in the background, until it is sent or the connection ends."""

    def send() -> None:
        with contextlib.suppress(OSError):
            sink.sendall(data)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize(
    ("side", "mbit_s", "packets"), [("up", 0.1, 6), ("down", 1, 40), ("up", 10, 400), ("down", 100, 4000)]
)
def test_a_constant_rate_is_had_in_either_direction(side: str, mbit_s: float, packets: int) -> None:
    """From the end of the first packet to the end of the last."""
    with shaped(same_both_ways(Direction(capacity=constant(mbit_s)))) as peers:
        edge, cloud = peers.connect()
        sender, receiver = (edge, cloud) if side == "up" else (cloud, edge)
        asked_s = (packets - 1) * 1500 * 8 / mbit_s / 1e6

        def takes_what_it_should() -> None:
            sending(sender, bytes(packets * FULL))
            first = len(receiver.recv(FULL))
            start = time.monotonic()
            received(receiver, packets * FULL - first)
            assert time.monotonic() - start == pytest.approx(asked_s, rel=0.03)

        in_a_calm_moment(takes_what_it_should)


@pytest.mark.parametrize(("mbit_s", "delay_ms"), [(0.1, 1), (100, 0), (100, 30)])
def test_a_small_message_takes_the_delay_of_both_ways(mbit_s: float, delay_ms: float) -> None:
    with shaped(same_both_ways(Direction(capacity=constant(mbit_s), delay_ms=delay_ms))) as peers:
        edge, cloud = peers.connect()
        asked_ms = 2 * (delay_ms + 56 * 8 / mbit_s / 1000)
        trips: list[float] = []

        def takes_the_delay() -> None:
            time.sleep(0.02)  # the acknowledgements go by, which take as long as a message on the slow link
            start = time.monotonic()
            edge.sendall(b"ping")
            cloud.sendall(cloud.recv(4))
            edge.recv(4)
            trips.append(1000 * (time.monotonic() - start))
            assert trips[-1] < asked_ms + 1

        in_a_calm_moment(takes_the_delay, tries=200)
        assert min(trips) >= asked_ms
        assert peers.row().rtt_ms == pytest.approx(asked_ms, abs=1)


def test_what_arrives_in_any_second_follows_a_trace() -> None:
    """A radio link that changes every 100 ms, with a pause; within 5% and a packet."""
    rates = [random.Random(4).uniform(2, 30) for _ in range(22)]
    rates[7:9] = [0.0, 0.0]
    steps = [round(rate * 12_500) for rate in rates]
    trace = Capacity(ms=list(range(0, 2201, 100)), bytes=[0, *accumulate(steps)])

    def is_followed() -> None:
        asked = ByteBudget(trace, 0)
        with shaped(same_both_ways(Direction(capacity=trace))) as peers:
            edge, cloud = peers.connect()
            peers.shaper.arm()
            start_ns = time.monotonic_ns()
            sending(edge, bytes(20 * trace.bytes[-1]))
            seen = [(0, 0)]
            while seen[-1][0] < 2200 * MS:
                size = len(cloud.recv(65_536))
                seen.append((time.monotonic_ns() - start_ns, seen[-1][1] + size))
        for end_ns, total in seen:
            begin = bisect_left(seen, (end_ns - 1000 * MS, 0))
            if end_ns >= 1000 * MS:
                begin_ns, before = seen[begin]
                wanted = asked.at(end_ns) - asked.at(begin_ns)
                assert (total - before) * 1500 / FULL == pytest.approx(wanted, abs=1500 + 0.05 * wanted)

    in_a_calm_moment(is_followed)


def test_bytes_come_out_as_they_went_in_with_losses_and_jitter() -> None:
    direction = Direction(capacity=constant(50), delay_ms=3, jitter_ms=2, loss=0.05)
    data = random.Random(0).randbytes(400_000)
    with shaped(same_both_ways(direction)) as peers:
        edge, cloud = peers.connect()
        sending(edge, data)
        sending(cloud, data[::-1])
        assert received(cloud, len(data)) == data
        assert received(edge, len(data)) == data[::-1]
        row = peers.row()
    assert row.retransmits > 0
    assert row.up_bytes > len(data) * 1500 / 1448


def test_the_edge_has_segments_of_the_links_mtu() -> None:
    with shaped(same_both_ways(Direction(), mtu=1400)) as peers:
        edge, cloud = peers.connect()
        edge.sendall(bytes(100_000))
        received(cloud, 100_000)
        info = edge.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 40)
        assert int.from_bytes(info[16:20], sys.byteorder) == 1400 - 52


def test_two_connections_share_the_rate() -> None:
    with shaped(same_both_ways(Direction(capacity=constant(16)))) as peers:
        pairs = [peers.connect(), peers.connect()]

        def share() -> None:
            start = time.monotonic()
            for edge, _ in pairs:
                sending(edge, bytes(400_000))
            for _, cloud in pairs:
                received(cloud, 400_000)
            assert time.monotonic() - start == pytest.approx(800_000 * 1500 / 1448 / 2e6, rel=0.2)

        in_a_calm_moment(share)


def test_a_slow_link_holds_its_sender_back_and_loses_nothing() -> None:
    with shaped(same_both_ways(Direction(capacity=constant(0.1)))) as peers:
        edge, _ = peers.connect()
        edge.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        edge.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 10_000_000:
                sent += edge.send(bytes(65_536))
        assert sent < 400_000


def test_a_receiver_that_does_not_read_holds_its_sender_back() -> None:
    with shaped(FREE) as peers:
        edge, cloud = peers.connect()
        edge.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200_000_000:
                sent += edge.send(bytes(1 << 20))
        assert sent < 100_000_000
        assert peers.process.memory_info().rss < 50_000_000
        assert len(received(cloud, sent)) == sent


def test_nothing_passes_while_the_link_is_down_and_all_of_it_afterwards() -> None:
    with shaped(FREE) as peers:
        edge, cloud = peers.connect()
        peers.shaper.disturb(Disturbance(down=True))
        edge.sendall(b"through")
        assert not select.select([cloud], [], [], 0.2)[0]
        assert peers.row().rtt_ms is None
        peers.shaper.disturb(Disturbance())
        assert received(cloud, 7) == b"through"


def test_the_links_time_begins_with_the_first_bytes_after_it_is_armed() -> None:
    pause = Capacity(ms=[0, 100, 400], bytes=[0, 1_000_000, 1_000_000])
    with shaped(same_both_ways(Direction(capacity=pause))) as peers:
        edge, cloud = peers.connect()

        def begins() -> None:
            peers.shaper.arm()
            start = time.monotonic()
            edge.sendall(b"1")
            received(cloud, 1)
            first_s = time.monotonic() - start
            time.sleep(max(0.0, 0.15 - first_s))
            edge.sendall(b"2")
            received(cloud, 1)
            assert first_s < 0.1
            assert time.monotonic() - start == pytest.approx(0.4, abs=0.05)

        in_a_calm_moment(begins)


def test_an_end_of_one_way_leaves_the_other_open() -> None:
    with shaped(same_both_ways(Direction(delay_ms=5))) as peers:
        edge, cloud = peers.connect()
        edge.sendall(b"last")
        edge.shutdown(socket.SHUT_WR)
        assert received(cloud, 100) == b"last"
        cloud.sendall(b"answer")
        cloud.close()
        assert received(edge, 100) == b"answer"
        assert peers.row().connections == 0


def test_counters_come_more_than_ten_times_a_second() -> None:
    with shaped(FREE) as peers:

        def come() -> None:
            start = peers.row().t_ns
            time.sleep(0.5)
            last = peers.row().t_ns
            steps = [row.t_ns for row in peers.rows if start <= row.t_ns <= last]
            assert len(steps) - 1 >= 10 * (last - start) / 1e9

        in_a_calm_moment(come)


def test_it_uses_hardly_any_time_while_nothing_comes() -> None:
    with shaped(same_both_ways(Direction(capacity=constant(1), delay_ms=10))) as peers:
        peers.connect()

        def rests() -> None:
            before = sum(peers.process.cpu_times()[:2])
            time.sleep(0.6)
            assert sum(peers.process.cpu_times()[:2]) - before < 0.1

        in_a_calm_moment(rests)


def test_peers_that_come_go_and_reset_leave_nothing_behind() -> None:
    with shaped(FREE) as peers:
        process = peers.process
        peers.connect()
        files = process.num_fds()
        for number in range(60):
            edge = peers.dial()
            cloud, _ = peers.cloud.accept()
            edge.sendall(b"\xff" * number)
            if number % 2:
                edge.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            edge.close()
            cloud.settimeout(WAIT_S)
            with contextlib.suppress(ConnectionError):
                received(cloud, 1 << 20)
            cloud.close()
        give_up = time.monotonic() + WAIT_S
        while peers.row().connections > 1:
            assert time.monotonic() < give_up
        assert process.num_fds() == files
        peers.shaper.check()


def test_an_edge_that_resets_is_gone_although_its_cloud_says_nothing() -> None:
    with shaped(FREE) as peers:
        edge, cloud = peers.connect()
        edge.sendall(b"last")
        assert received(cloud, 4) == b"last"
        edge.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        edge.close()
        assert cloud.recv(1) == b""
        assert peers.row().connections == 0


def test_a_short_queue_is_filled_again_while_nothing_has_arrived_yet() -> None:
    with shaped(same_both_ways(Direction(capacity=constant(16), delay_ms=100, queue_ms=10))) as peers:
        edge, cloud = peers.connect()

        def is_filled() -> None:
            start = time.monotonic()
            sending(edge, bytes(100_000))
            received(cloud, 100_000)
            assert time.monotonic() - start == pytest.approx(0.1 + 100_000 * 1500 / FULL / 2e6, abs=0.04)

        in_a_calm_moment(is_filled)


def test_connections_are_bounded_and_those_there_go_on() -> None:
    with shaped(FREE) as peers:
        edge, cloud = peers.connect()
        crowd = [peers.dial() for _ in range(MAX_CONNECTIONS)]
        assert crowd[-1].recv(1) == b""
        edge.sendall(b"still")
        assert received(cloud, 5) == b"still"
        assert peers.row().connections == MAX_CONNECTIONS


def test_an_edge_is_hung_up_on_while_the_cloud_does_not_listen() -> None:
    with shaped(FREE) as peers:
        peers.cloud.close()
        edge = peers.dial()
        with contextlib.suppress(ConnectionError):
            assert edge.recv(1) == b""
        peers.shaper.check()


def test_the_data_plane_runs_through_it_encrypted() -> None:
    cloud, edge = new_keypair(), new_keypair()
    with DataServer("127.0.0.1", 0, cloud, [edge.public], on_event=print) as server:
        link = same_both_ways(Direction(capacity=constant(20), delay_ms=5))
        shaper = UserShaper(link, server.endpoint, "127.0.0.1", 0, lambda row: None)
        try:
            assert shaper.endpoint is not None
            with DataClient(shaper.endpoint, edge, cloud.public) as client:
                client.connect(Deadline(20_000))
                asked = threading.Thread(target=lambda: server.send(*(server.recv(20_000) or (b"", b""))))
                asked.start()
                start = time.monotonic()
                assert client.request(bytes(50_000), Deadline(20_000)) == bytes(50_000)
                took_s = time.monotonic() - start
                asked.join()
        finally:
            shaper.close()
    # A busy machine is later than the link, and nothing is earlier: 26 ms each way.
    assert took_s > 0.95 * 2 * (50_000 * 1500 / FULL * 8 / 20e6 + 0.005)


def test_a_port_in_use_is_said_so() -> None:
    said = r"free at 127\.0\.0\.1:\d+: cannot listen there: Address already in use; free the port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=said):
            UserShaper(FREE, "tcp://127.0.0.1:1", "127.0.0.1", port, print)


def test_a_shaper_that_dies_is_noticed_with_its_last_word() -> None:
    with shaped(FREE) as peers:
        peers.process.kill()
        with pytest.raises(LinkError, match="ended with exit code -9: it said nothing"):
            peers.shaper.disturb(Disturbance())
        with pytest.raises(LinkError, match="ended with exit code -9"):
            peers.shaper.check()


def test_a_row_that_cannot_be_kept_is_said_by_the_check() -> None:
    told = threading.Event()

    def full(_: ShaperRow) -> None:
        if told.is_set():
            raise AssertionError("asked again")
        told.set()
        raise OSError("disk full")

    faults: list[LinkError] = []
    shaper = UserShaper(FREE, "tcp://127.0.0.1:1", "127.0.0.1", 0, full, faults.append)
    try:
        assert told.wait(WAIT_S)
        shaper.arm()  # answered by the thread that was told
        assert len(faults) == 1
        with pytest.raises(LinkError, match="counters could not be kept: disk full"):
            shaper.check()
    finally:
        shaper.close()


def test_whoever_holds_it_is_told_at_once_when_it_is_killed_and_not_when_it_is_closed() -> None:
    told: queue.SimpleQueue[LinkError] = queue.SimpleQueue()
    for killed in (False, True):
        before = set(psutil.Process().children())
        shaper = UserShaper(FREE, "tcp://127.0.0.1:1", "127.0.0.1", 0, lambda row: None, told.put)
        (process,) = set(psutil.Process().children()) - before
        if killed:
            process.kill()
            assert "the shaper of link free" in (text := str(told.get(timeout=WAIT_S)))
            assert "it ended with exit code -9" in text
        shaper.close()
        assert told.empty()


def test_closing_it_ends_the_process_and_twice_does_no_harm() -> None:
    peers = Shaped(FREE)
    process = peers.process
    peers.close()
    peers.shaper.close()
    assert not process.is_running()
    with pytest.raises(LinkError, match="it is closed"):
        peers.shaper.arm()


def test_an_impossible_disturbance_is_refused() -> None:
    with shaped(FREE) as peers, pytest.raises(LinkError, match="a rate lies above 0"):
        peers.shaper.disturb(Disturbance(rate=0.0))


def test_it_ends_with_its_worker_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from testbed.link.shaping.user import UserShaper\n"
        "from devices.links.conditions import Direction, Link\n"
        "link = Link(name='free', technology='other', up=Direction(), down=Direction())\n"
        "shaper = UserShaper(link, 'tcp://127.0.0.1:1', '127.0.0.1', 0, lambda row: None)\n"
        "print(shaper._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    shaper = psutil.Process(int(worker.stdout.readline()))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert psutil.wait_procs([shaper], WAIT_S)[1] == []
