"""Peers that flood a cloud's port over real sockets: what they cost it is bounded, and an edge goes on beside them."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.link.client import DataClient
from testbed.link.crowd import Crowd
from testbed.link.deadline import Deadline
from testbed.link.keys import new_keypair
from testbed.link.server import DataServer
from testbed.link.sparing import WHOLE

WAIT_S = 10
MAX_MESSAGE = 4096
PART = bytes(2048)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
MORE, LONG, COMMAND = 1, 2, 4


class Raw:
    """A peer that speaks ZMTP by hand (RFC 23), as no libzmq would."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.socket.sendall(GREETING + bytes([COMMAND, len(READY)]) + READY)

    def let_in(self) -> Raw:
        """Wait for the end of the handshake, before which libzmq takes no message."""
        with self.socket.makefile("rb") as stream:
            stream.read(len(GREETING))
            _, length = stream.read(2)
            stream.read(length)
        return self

    def part(self, data: bytes, flags: int = MORE) -> None:
        self.socket.sendall(bytes([flags | LONG]) + struct.pack(">Q", len(data)) + data)

    def closed(self) -> bool:
        """Whether the cloud hangs up, within the time there is."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(4096):
                pass
        return True


class Cloud:
    """A server in the clear, and what it told of."""

    def __init__(self, **options: Any) -> None:
        self.events: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.server = DataServer(
            "127.0.0.1",
            0,
            on_event=lambda name, detail: self.events.put((name, detail)),
            **{"keys": None, "allowed_clients": [], "max_message_bytes": MAX_MESSAGE} | options,
        )

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        return [self.events.get() for _ in range(self.events.qsize())]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    found = Cloud()
    yield found
    found.server.close()


def test_a_message_without_end_costs_its_sender_the_connection(cloud) -> None:
    allowed = Crowd(MAX_MESSAGE).allowance_bytes
    sent = 0
    with DataClient(cloud.server.endpoint, None, None) as edge:
        edge.connect(Deadline(WAIT_S * 1000))
        endless = Raw(cloud.server.port).let_in()
        with endless.socket, contextlib.suppress(ConnectionError):
            while sent < 100 * allowed:
                endless.part(PART)
                sent += len(PART)
        assert allowed < sent < 100 * allowed
        told = cloud.events.get(timeout=WAIT_S)
        assert told == ("peer_refused", {"reason": "a message without end", "address": "127.0.0.1"})
        edge.send(b"after", Deadline(WAIT_S * 1000))
        received = cloud.server.recv(WAIT_S * 1000)
        assert received is not None
        assert received[1] == b"after"


def test_a_peer_that_sends_much_in_whole_messages_is_left_alone(cloud) -> None:
    allowed = Crowd(MAX_MESSAGE).allowance_bytes
    with DataClient(cloud.server.endpoint, None, None) as edge:
        edge.connect(Deadline(WAIT_S * 1000))
        for _ in range(2 * allowed // MAX_MESSAGE):
            edge.send(bytes(MAX_MESSAGE), Deadline(WAIT_S * 1000))
            assert cloud.server.recv(WAIT_S * 1000) is not None
    assert cloud.told() == []


def test_messages_in_parts_are_told_of_a_few_times_however_many_come(cloud) -> None:
    odd = Raw(cloud.server.port).let_in()
    with odd.socket:
        for _ in range(2000):
            odd.part(b"a")
            odd.part(b"b", flags=0)
        for _ in range(2000):
            assert cloud.server.recv(WAIT_S * 1000) is None
    told = cloud.told()
    assert {name for name, _ in told} == {"frame_refused"}
    assert len(told) <= WHOLE + 11
    assert max(detail.get("so_far", 0) for _, detail in told) == 1024


def test_strangers_that_know_no_key_are_told_of_a_few_times_and_the_edge_is_let_in() -> None:
    own, edge_keys = new_keypair(), new_keypair()
    cloud = Cloud(keys=own, allowed_clients=[edge_keys.public])
    try:
        for _ in range(300):
            stranger = Raw(cloud.server.port)
            with stranger.socket:
                assert stranger.closed()
        with DataClient(cloud.server.endpoint, edge_keys, own.public) as edge:
            edge.connect(Deadline(WAIT_S * 1000))
            edge.send(b"hello", Deadline(WAIT_S * 1000))
            assert cloud.server.recv(WAIT_S * 1000) is not None
    finally:
        cloud.server.close()
    told = cloud.told()
    assert {detail["reason"] for _, detail in told} == {"the handshake failed"}
    assert WHOLE <= len(told) <= WHOLE + 4


def test_of_too_many_connections_the_oldest_silent_one_goes() -> None:
    crowd = Crowd(most=2)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as open_sockets:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        ours, theirs = [], []
        for _ in range(3):
            theirs.append(open_sockets.enter_context(socket.create_connection(listener.getsockname(), timeout=WAIT_S)))
            ours.append(open_sockets.enter_context(listener.accept()[0]))
        assert crowd.accepted(ours[0].fileno(), endpoint) is None
        crowd.delivered(ours[0].fileno())
        assert crowd.accepted(ours[1].fileno(), endpoint) is None
        assert crowd.accepted(ours[2].fileno(), endpoint) == "127.0.0.1"
        assert theirs[1].recv(1) == b""
        for still in (0, 2):
            ours[still].sendall(b"x")
            assert theirs[still].recv(1) == b"x"
        assert len(crowd) == 2


def test_a_descriptor_that_is_another_thing_now_is_left_alone(tmp_path) -> None:
    crowd = Crowd()
    with (tmp_path / "log").open("w") as file:
        assert crowd.accepted(file.fileno(), "tcp://127.0.0.1:1") is None
        assert crowd.without_end() == []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as theirs, listener.accept()[0] as ours:
            crowd.accepted(ours.fileno(), "tcp://127.0.0.1:1")  # of another port than ours
            theirs.sendall(b"x")
            assert ours.recv(1) == b"x"
        assert len(crowd) == 0
