from __future__ import annotations

import ctypes
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import LinkError
from testbed.link import tcpinfo
from testbed.link.client import DataClient
from testbed.link.connectionmeter import ConnectionMeter
from testbed.link.deadline import Deadline
from testbed.link.server import DataServer

TIMESTAMPS = Path("/proc/sys/net/ipv4/tcp_timestamps").read_text().strip() != "0"
HEADER = 20 + 20 + (12 if TIMESTAMPS else 0)


# The fields of struct tcp_info in order, as linux/tcp.h has them; the compiler's layout rules do the rest.
U8 = "state ca_state retransmits probes backoff options wscale flags"
U32 = (
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent last_ack_sent last_data_recv "
    "last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space "
    "total_retrans"
)
FIELDS = [
    *((name, ctypes.c_uint8) for name in U8.split()),
    *((name, ctypes.c_uint32) for name in U32.split()),
    *((name, ctypes.c_uint64) for name in ("pacing", "max_pacing", "bytes_acked", "bytes_received")),
    *((name, ctypes.c_uint32) for name in ("segs_out", "segs_in", "notsent", "min_rtt", "dsegs_in", "dsegs_out")),
    *((name, ctypes.c_uint64) for name in ("delivery_rate", "busy", "rwnd_limited", "sndbuf_limited")),
    *((name, ctypes.c_uint32) for name in ("delivered", "delivered_ce")),
    *((name, ctypes.c_uint64) for name in ("bytes_sent", "bytes_retrans")),
]


class TcpInfo(ctypes.Structure):
    _fields_ = FIELDS


class Pair:
    """A TCP connection of this process to itself."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"tcp://[{host}]:{self.port}" if ":" in host else f"tcp://{host}:{self.port}"
        self.edge, self.cloud = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        edge = socket.create_connection(self.listener.getsockname()[:2])
        return edge, self.listener.accept()[0]

    def close(self) -> None:
        for end in (self.edge, self.cloud, self.listener):
            end.close()


def carry(source: socket.socket, sink: socket.socket, size: int) -> None:
    """Send and wait until all of it is there, in pieces that no buffer is too small for."""
    while size:
        piece = min(size, 16384)
        source.sendall(bytes(piece))
        left = piece
        while left:
            left -= len(sink.recv(left))
        size -= piece


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def segments(found: int, payload: int, header: int = HEADER) -> int:
    """How many segments' headers are in a count; it must be a whole number."""
    count, rest = divmod(found - payload, header)
    assert rest == 0
    return count


def test_known_traffic_is_counted_to_the_byte(pair: Pair):
    meter = ConnectionMeter(pair.endpoint)
    carry(pair.edge, pair.cloud, 100_000)
    carry(pair.cloud, pair.edge, 3_000)
    now = meter.read()
    # 7 pieces of at most 16 KiB fit a loopback segment each; a SYN and acknowledgements come on top.
    assert 7 <= segments(now.tx_bytes, 100_000) <= 25
    assert 1 <= segments(now.rx_bytes, 3_000) <= 25
    assert 0 < now.rtt_ms < 1000
    assert now.retransmits == 0


def test_both_ends_count_the_same_traffic(pair: Pair):
    edge = ConnectionMeter(pair.endpoint)
    cloud = ConnectionMeter(f"tcp://127.0.0.1:{pair.edge.getsockname()[1]}")
    before = edge.read(), cloud.read()
    for _ in range(20):
        carry(pair.edge, pair.cloud, 700)
        carry(pair.cloud, pair.edge, 50)
    after = edge.read(), cloud.read()
    sent = after[0].tx_bytes - before[0].tx_bytes
    assert abs(sent - (after[1].rx_bytes - before[1].rx_bytes)) <= HEADER
    assert abs(sent - 20 * (700 + HEADER)) <= 2 * HEADER


def test_each_number_is_taken_from_its_own_field():
    info = TcpInfo(*range(1, len(FIELDS) + 1))
    for options, header in ((0, 40), (1, 52), (6, 40)):
        info.options = options
        assert tcpinfo._counters(bytes(info), 20) == (  # noqa: SLF001
            info.bytes_sent + info.segs_out * header,
            info.bytes_received + info.segs_in * header,
            info.rtt / 1000,
            info.total_retrans,
            info.snd_cwnd,
        )


def test_counters_stand_still_while_nothing_is_sent(pair: Pair):
    meter = ConnectionMeter(pair.endpoint)
    assert meter.read() == meter.read()


def test_ipv6_headers_are_counted_as_such():
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    pair = Pair("::1")
    try:
        meter = ConnectionMeter(pair.endpoint)
        carry(pair.edge, pair.cloud, 1_000)
        assert segments(meter.read().tx_bytes, 1_000, HEADER + 20) >= 1
    finally:
        pair.close()


def test_reading_neither_opens_nor_closes_a_descriptor(pair: Pair):
    before = open_descriptors()
    meter = ConnectionMeter(pair.endpoint)
    meter.read()
    assert open_descriptors() == before
    carry(pair.edge, pair.cloud, 10)


def test_a_meter_does_not_hold_the_connection_open(pair: Pair):
    meter = ConnectionMeter(pair.endpoint)
    pair.edge.close()
    assert pair.cloud.recv(1) == b""
    with pytest.raises(LinkError, match="0 TCP connections"):
        meter.read()


def test_a_new_connection_under_the_same_descriptor_is_reported_once_and_then_added(pair: Pair):
    meter = ConnectionMeter(pair.endpoint)
    carry(pair.edge, pair.cloud, 5_000)
    last = meter.read()
    number = pair.edge.fileno()
    pair.edge.close()
    pair.cloud.close()
    pair.edge, pair.cloud = pair.connect()
    assert pair.edge.fileno() == number
    with pytest.raises(LinkError, match="made anew"):
        meter.read()
    carry(pair.edge, pair.cloud, 600)
    assert segments(meter.read().tx_bytes - last.tx_bytes, 600) >= 1


@pytest.mark.parametrize("linger", [struct.pack("ii", 1, 0), None], ids=["reset", "closed"])
def test_a_connection_that_the_other_end_ended_is_counted_to_its_last_byte(pair: Pair, linger: bytes | None):
    meter = ConnectionMeter(pair.endpoint)
    carry(pair.edge, pair.cloud, 5_000)
    if linger is not None:
        pair.cloud.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    pair.cloud.close()
    select.select([pair.edge], [], [], 5)
    last = meter.read()
    assert segments(last.tx_bytes, 5_000) >= 1
    assert meter.glance() is None
    pair.edge.close()
    assert meter.read() == last
    pair.edge, pair.cloud = pair.connect()
    carry(pair.edge, pair.cloud, 600)
    assert segments(meter.read().tx_bytes - last.tx_bytes, 600) >= 1


def test_no_connection_and_two_connections_are_errors(pair: Pair):
    second = pair.connect()
    try:
        with pytest.raises(LinkError, match="2 TCP connections"):
            ConnectionMeter(pair.endpoint)
    finally:
        for end in second:
            end.close()
    with pytest.raises(LinkError, match="0 TCP connections"):
        ConnectionMeter("tcp://127.0.0.1:1")


@pytest.mark.parametrize("endpoint", ["ipc:///tmp/x", "tcp://127.0.0.1", "tcp://:5", "tcp://127.0.0.1:x", ""])
def test_what_is_no_tcp_endpoint_is_an_error(endpoint: str):
    with pytest.raises(LinkError):
        ConnectionMeter(endpoint)


def test_an_old_kernel_is_an_error_and_a_middle_aged_one_counts_what_was_acknowledged(pair: Pair):
    carry(pair.edge, pair.cloud, 5_000)
    info = pair.edge.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    with pytest.raises(LinkError, match=r"Linux 4\.2"):
        tcpinfo._counters(info[:104], 20)  # noqa: SLF001
    old = tcpinfo._counters(info[:192], 20)  # noqa: SLF001
    # bytes_acked counts the SYN as one byte.
    assert abs(old.tx_bytes - ConnectionMeter(pair.endpoint).read().tx_bytes) <= 1


def test_a_data_plane_connection_costs_its_payload_and_a_little_more():
    with DataServer("127.0.0.1", 0, None, [], on_event=lambda name, detail: None) as server:
        with DataClient(server.endpoint, None, None) as client:
            client.connect(Deadline(10_000))
            meter = ConnectionMeter(server.endpoint)
            before = meter.read()
            for _ in range(10):
                client.send(bytes(1_000), Deadline(10_000))
                received = server.recv(10_000)
                assert received is not None
                server.send(received[0], bytes(100))
                client.recv(Deadline(10_000))
            now = meter.read()
        # ZMTP's frame header is 9 bytes from 256 bytes on, 2 below.
        assert 10 * (1_009 + HEADER) <= now.tx_bytes - before.tx_bytes <= 10 * (1_009 + 2 * HEADER) + 200
        assert 10 * (102 + HEADER) <= now.rx_bytes - before.rx_bytes <= 10 * (102 + 2 * HEADER) + 200
