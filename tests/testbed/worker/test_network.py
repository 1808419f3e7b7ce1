"""The network is recorded at its rate, through losses of the connection, and never ends in silence."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from devices.base.rowlog import RowLog
from testbed.errors import LinkError, WorkerError
from testbed.link import interfaces
from testbed.link.connectionmeter import ConnectionMeter
from testbed.link.interfaces import InterfaceCounters, interface_to, peers_at
from testbed.link.tcpinfo import Counters
from testbed.record.log import read_rows
from testbed.record.schema import NetworkRow
from testbed.worker.network import RATE_HZ, NetworkRecorder

NOBODY: Callable[[], set[str]] = set


@contextmanager
def recorded(folder: Path, peers: Callable[[], set[str]] = NOBODY, **options: object) -> Iterator[NetworkRecorder]:
    with RowLog(folder / "network.jsonl") as log:
        recorder = NetworkRecorder(log, "board", peers, **options)  # type: ignore[arg-type]
        yield recorder
        recorder.stop()
        recorder.stop()


def rows(folder: Path, interface: str) -> list[NetworkRow]:
    every = read_rows(folder / "network.jsonl", NetworkRow)
    return [row for row in every if row.interface == interface]


class Moving:
    """Counters that grow with each reading, and tell when they were read."""

    def __init__(self) -> None:
        self.readings: queue.Queue[int] = queue.Queue()
        self.count = 0
        self.down = threading.Event()
        self.fails: Exception | None = None

    def __call__(self) -> Counters | None:
        self.count += 1
        self.readings.put(self.count)
        if self.fails is not None:
            raise self.fails
        return None if self.down.is_set() else Counters(100 * self.count, 10 * self.count, 1.5, 0, 10)

    def wait_for(self, more: int) -> None:
        for _ in range(more):
            self.readings.get(timeout=10)


def test_readings_come_at_their_rate_and_the_last_one_at_the_end(tmp_path: Path) -> None:
    moving = Moving()
    with recorded(tmp_path, connection=moving) as recorder:
        moving.wait_for(RATE_HZ)
        recorder.check()
    found = rows(tmp_path, "data")
    assert [row.tx_bytes for row in found] == [100 * (n + 1) for n in range(moving.count)]
    apart_ms = np.diff([row.t_ns for row in found])[:-1] / 1e6
    assert 1000 / RATE_HZ * 0.9 < np.median(apart_ms) < 100
    assert (found[0].rtt_ms, found[0].cwnd, found[0].retransmits, found[0].node) == (1.5, 10, 0, "board")


def test_a_connection_that_is_down_has_no_rows_and_its_interface_goes_on(tmp_path: Path) -> None:
    moving = Moving()
    with recorded(tmp_path, lambda: {"127.0.0.1"}, connection=moving):
        moving.wait_for(3)
        moving.down.set()
        moving.wait_for(4)
    assert len(rows(tmp_path, "data")) < moving.count - 2
    assert len(rows(tmp_path, "if:lo")) == moving.count


def test_a_hop_is_recorded_as_such(tmp_path: Path) -> None:
    moving = Moving()
    with recorded(tmp_path, connection=moving, path="hop"):
        moving.wait_for(1)
    assert rows(tmp_path, "hop")
    assert not rows(tmp_path, "data")


@pytest.mark.parametrize(
    ("error", "told"), [(LinkError("gone"), "gone"), (KeyError("a bug"), "a bug"), (OSError(), "OSError")]
)
def test_what_ends_a_recorder_is_told_to_whoever_asks(tmp_path: Path, error: Exception, told: str) -> None:
    moving = Moving()
    with recorded(tmp_path, connection=moving) as recorder:
        moving.wait_for(1)
        moving.fails = error
        recorder._thread.join(10)  # noqa: SLF001
        with pytest.raises(WorkerError, match=f"board: the network is not recorded any more: .*{told}"):
            recorder.check()


def test_a_full_disk_ends_a_recorder_with_its_reason(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "network.jsonl")
    os.close(log._fd)  # noqa: SLF001
    log._fd = os.open("/dev/full", os.O_WRONLY)  # noqa: SLF001
    recorder = NetworkRecorder(log, "board", NOBODY, Moving())
    recorder._thread.join(10)  # noqa: SLF001
    recorder.stop()
    with pytest.raises(WorkerError, match="No space left on device"):
        recorder.check()
    log.close()


def test_a_peer_that_comes_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.worker.network.LOOK_S", 0.01)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    moving = Moving()
    with recorded(tmp_path, lambda: peers_at(port), connection=moving):
        moving.wait_for(2)
        with socket.create_connection(("127.0.0.1", port)):
            moving.wait_for(4)
    listener.close()
    assert 0 < len(rows(tmp_path, "if:lo")) < moving.count


def test_peers_are_those_of_the_port_whoever_holds_its_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert peers_at(port) == set()
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.7", 0)) as edge:
            assert peers_at(port) == {"127.0.0.7"}
            assert peers_at(edge.getsockname()[1]) == {"127.0.0.1"}


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_peers_over_ipv6_and_mapped_ones_are_found() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("::1", port)), socket.create_connection(("127.0.0.1", port)):
            assert peers_at(port) == {"::1", "127.0.0.1"}
    assert interface_to("::1") == "lo"


def test_an_address_of_this_machine_is_reached_over_the_loopback_interface() -> None:
    assert interface_to("127.0.0.1") == "lo"


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3"])
def test_what_is_no_address_is_an_error(address: str) -> None:
    with pytest.raises(LinkError, match="over which interface"):
        interface_to(address)


def test_the_answer_to_a_route_question_is_taken_apart_or_refused() -> None:
    header = interfaces._HEADER.pack(16 + 12 + 8 + 8, 24, 0, 1, 0)  # noqa: SLF001
    other = interfaces._ATTRIBUTE.pack(5, 9) + b"x\0\0\0"  # noqa: SLF001  (padded to 4 bytes)
    goes_out = interfaces._ATTRIBUTE.pack(8, 4) + (3).to_bytes(4, "little")  # noqa: SLF001
    assert interfaces._outgoing(header + bytes(12) + other + goes_out) == 3  # noqa: SLF001
    with pytest.raises(ValueError, match="names none"):
        interfaces._outgoing(header + bytes(12) + other)  # noqa: SLF001
    refused = interfaces._HEADER.pack(20, 2, 0, 1, 0) + (-101).to_bytes(4, "little", signed=True)  # noqa: SLF001
    with pytest.raises(OSError, match="unreachable"):
        interfaces._outgoing(refused)  # noqa: SLF001


def test_interface_counters_follow_the_kernel_and_say_when_it_is_gone(tmp_path: Path) -> None:
    statistics = tmp_path / "wlan0" / "statistics"
    statistics.mkdir(parents=True)
    (statistics / "tx_bytes").write_text("12\n")
    (statistics / "rx_bytes").write_text("7\n")
    counters = InterfaceCounters("wlan0", tmp_path)
    assert counters.read() == (12, 7)
    (statistics / "tx_bytes").write_text("123456789012\n")
    assert counters.read() == (123456789012, 7)
    (statistics / "rx_bytes").write_text("")
    with pytest.raises(LinkError, match="wlan0: the counters of this network interface cannot be read"):
        counters.read()
    counters.close()
    counters.close()
    with pytest.raises(LinkError, match="wlan1"):
        InterfaceCounters("wlan1", tmp_path)


def test_connections_that_come_and_go_under_a_recorder_are_counted_and_nothing_else_is() -> None:
    rounds, stop = 200, threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        cloud: list[socket.socket] = []

        def connected() -> socket.socket:
            edge = socket.create_connection(address)
            cloud.append(listener.accept()[0])
            return edge

        edge = connected()
        meter = ConnectionMeter(f"tcp://127.0.0.1:{address[1]}")
        seen: list[int] = []

        def glance_on() -> None:
            while not stop.is_set():
                if (now := meter.glance()) is not None:
                    seen.append(now.tx_bytes)

        thread = threading.Thread(target=glance_on)
        thread.start()
        losses = 0
        for number in range(rounds):
            # The descriptor becomes a file, then another connection, as libzmq may do between any two calls.
            edge.close()
            cloud.pop().close()
            with Path(os.devnull).open("rb"):
                pass
            if number % 5 == 0:
                meter.give_up()
            edge = connected()
            edge.send(bytes(100))
            try:
                meter.read()
            except LinkError:
                losses += 1
        stop.set()
        thread.join()
        edge.close()
        cloud.pop().close()
    assert seen == sorted(seen)
    assert 100 < seen[-1] <= rounds * (100 + 8 * 60)
    assert losses > rounds / 2


def test_a_cut_connection_is_told_to_the_request_also_where_the_recorder_saw_it_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        edge = socket.create_connection(address)
        meter = ConnectionMeter(f"tcp://127.0.0.1:{address[1]}")
        edge.close()
        assert meter.glance() is None
        with socket.create_connection(address) as edge:
            now = meter.glance()
            assert now is not None
            assert now.cwnd > 0
            with pytest.raises(LinkError, match="made anew"):
                meter.read()
            assert meter.read() == now
            with socket.create_connection(address):
                edge.close()
                assert meter.glance() is not None
