"""The two ends of the data plane, and who is let in."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from testbed.errors import LinkError
from testbed.link.client import DataClient, LinkLost, LinkTimeout
from testbed.link.deadline import Deadline
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.server import DataServer
from tests.fakes.relay import Relay

WAIT_MS = 10_000
CLOUD, EDGE = new_keypair(), new_keypair()


def soon() -> Deadline:
    return Deadline(WAIT_MS)


class Cloud:
    """A server and the events it reported."""

    def __init__(self, keys: KeyPair | None = CLOUD, **options: Any) -> None:
        self.events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.server = DataServer(
            "127.0.0.1",
            0,
            keys,
            [EDGE.public],
            on_event=lambda name, detail: self.events.put((name, detail)),
            **options,
        )

    def edge(self, keys: KeyPair | None = EDGE, server: str | None = CLOUD.public) -> DataClient:
        return DataClient(self.server.endpoint, keys, server)

    def recv(self) -> tuple[bytes, bytes]:
        received = self.server.recv(WAIT_MS)
        assert received is not None
        return received

    def event(self) -> tuple[str, dict[str, Any]]:
        return self.events.get(timeout=WAIT_MS / 1000)


@pytest.fixture
def open_cloud() -> Iterator[Callable[..., Cloud]]:
    clouds: list[Cloud] = []

    def make(*args: Any, **options: Any) -> Cloud:
        clouds.append(Cloud(*args, **options))
        return clouds[-1]

    yield make
    for cloud in clouds:
        cloud.server.close()


@pytest.mark.parametrize("curve", [False, True], ids=["clear", "curve"])
def test_messages_come_back_from_another_process(curve: bool):
    setup = {
        "keys": {"public": CLOUD.public, "secret": CLOUD.secret} if curve else None,
        "allowed": [EDGE.public],
    }
    script = Path(__file__).with_name("echo_server.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(setup) + "\n")
        process.stdin.flush()
        endpoint = process.stdout.readline().strip()
        keys, server = (EDGE, CLOUD.public) if curve else (None, None)
        with DataClient(endpoint, keys, server) as edge:
            edge.connect(soon())
            for message in (b"", b"x", bytes(range(256)) * 1024, b"stop"):
                assert edge.request(message, soon()) == message
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_each_edge_gets_its_own_answers(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as first, cloud.edge() as second:
        first.connect(soon())
        second.connect(soon())
        first.send(b"1", soon())
        second.send(b"2", soon())
        for peer, data in (cloud.recv(), cloud.recv()):
            assert cloud.server.send(peer, data * 3)
        assert second.recv(soon()) == b"222"
        assert first.recv(soon()) == b"111"


def test_an_edge_with_a_key_that_is_not_allowed_is_told_so_and_reported(open_cloud):
    cloud, stranger = open_cloud(), new_keypair()
    with cloud.edge(keys=stranger) as edge, pytest.raises(LinkError, match=r"refuses our CURVE key"):
        edge.connect(soon())
    name, detail = cloud.event()
    assert name == "peer_refused"
    assert detail == {"reason": "key not allowed", "address": "127.0.0.1", "key": stranger.public}


@pytest.mark.parametrize(
    ("cloud_keys", "edge_keys", "server"),
    [(CLOUD, EDGE, new_keypair().public), (CLOUD, None, None), (None, EDGE, CLOUD.public)],
    ids=["another server key", "only the cloud has keys", "only the edge has keys"],
)
def test_security_that_does_not_match_fails_at_once_on_both_sides(open_cloud, cloud_keys, edge_keys, server):
    cloud = open_cloud(cloud_keys)
    with cloud.edge(edge_keys, server) as edge:
        start = time.monotonic()
        with pytest.raises(LinkError, match="handshake failed"):
            edge.connect(soon())
        assert time.monotonic() - start < WAIT_MS / 2000
    assert cloud.event() == ("peer_refused", {"reason": "the handshake failed"})


def test_a_refused_stranger_does_not_disturb_the_others(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as edge:
        edge.connect(soon())
        with cloud.edge(keys=new_keypair()) as stranger, pytest.raises(LinkError):
            stranger.connect(soon())
        edge.send(b"still here", soon())
        assert cloud.recv()[1] == b"still here"


def test_connecting_where_nothing_listens_ends_at_the_deadline():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, but not listening
        endpoint = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        with (
            DataClient(endpoint, None, None) as edge,
            pytest.raises(LinkError, match=rf"{endpoint}: .* within 1000 ms: nothing listens"),
        ):
            edge.connect(Deadline(1000))


def test_connecting_to_something_mute_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with (
            DataClient(endpoint, EDGE, CLOUD.public) as edge,
            pytest.raises(LinkError, match="handshake did not finish"),
        ):
            edge.connect(Deadline(1000))


def test_a_wrong_endpoint_is_a_link_error():
    with (
        DataClient("tcp://nowhere", None, None) as edge,
        pytest.raises(LinkError, match="not an endpoint"),
    ):
        edge.connect(soon())


def test_half_a_set_of_keys_is_refused():
    with pytest.raises(LinkError, match="needs both"):
        DataClient("tcp://127.0.0.1:1", EDGE, None)


def test_a_port_in_use_says_which_and_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(LinkError, match=rf"127\.0\.0\.1:{port}: the port is in use .* data_port: 0"):
            DataServer("127.0.0.1", port, CLOUD, [], on_event=lambda name, detail: None)


def test_an_address_of_another_node_says_so():
    # 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    with pytest.raises(LinkError, match="no such address"):
        DataServer("192.0.2.1", 0, None, [], on_event=lambda name, detail: None)


def test_no_answer_is_a_timeout_and_the_late_one_still_comes(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as edge:
        edge.connect(soon())
        with pytest.raises(LinkTimeout, match="no reply within 500 ms"):
            edge.request(b"slow", Deadline(500))
        cloud.server.send(cloud.recv()[0], b"late")
        assert edge.recv(soon()) == b"late"


def test_nothing_to_receive_is_none(open_cloud):
    cloud = open_cloud()
    assert cloud.server.recv(0) is None
    assert cloud.server.recv(1) is None


def test_an_answer_to_a_peer_that_is_gone_is_an_event(open_cloud):
    cloud = open_cloud()
    assert cloud.server.send(b"\0abcd", b"anyone?") is False
    assert cloud.event() == ("peer_unreachable", {"peer": "0061626364", "reason": "gone"})


def test_a_peer_that_does_not_read_does_not_hold_up_the_cloud(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as edge:
        edge.connect(soon())
        edge.send(b"hello", soon())
        peer, _ = cloud.recv()
        # The queues of both sides and the kernel's buffers are finite, so this ends.
        while cloud.server.send(peer, bytes(1 << 20)):
            pass
    assert cloud.event() == ("peer_unreachable", {"peer": peer.hex(), "reason": "does not read"})


@pytest.mark.parametrize("size", [20, 5000])
@pytest.mark.parametrize("curve", [False, True], ids=["clear", "curve"])
def test_a_message_of_the_allowed_size_arrives(open_cloud, curve: bool, size: int):
    cloud = open_cloud(CLOUD if curve else None, max_message_bytes=size)
    with cloud.edge(EDGE, CLOUD.public) if curve else cloud.edge(None, None) as edge:
        edge.connect(soon())
        edge.send(bytes(size), soon())
        assert cloud.recv()[1] == bytes(size)


def test_a_message_larger_than_allowed_costs_its_sender_the_connection_and_never_arrives(open_cloud):
    cloud = open_cloud(None, max_message_bytes=5000)
    with zmq.Context() as context, context.socket(zmq.DEALER) as greedy:
        greedy.linger = 0
        monitor = greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        greedy.connect(cloud.server.endpoint)
        greedy.send(bytes(5100))
        assert monitor.poll(WAIT_MS)
        greedy.disable_monitor()
        monitor.close(linger=0)
    assert cloud.server.recv(0) is None
    with cloud.edge(None, None) as edge:
        edge.connect(soon())
        edge.send(b"after", soon())
        assert cloud.recv()[1] == b"after"


def test_a_message_in_parts_is_refused_and_the_next_one_read(open_cloud):
    cloud = open_cloud(None)
    with zmq.Context() as context, context.socket(zmq.DEALER) as odd:
        odd.linger = 0
        odd.connect(cloud.server.endpoint)
        odd.send_multipart([b"a", b"b"])
        assert cloud.server.recv(WAIT_MS) is None
        name, detail = cloud.event()
        assert (name, detail["reason"], detail["parts"]) == ("frame_refused", "bad_parts", 2)
        odd.send(b"whole")
        assert cloud.recv()[1] == b"whole"


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(100), b"\xff" * 100, b"\xff" + bytes(99)],
    ids=["HTTP", "zeros", "ones", "half a greeting"],
)
def test_garbage_on_the_port_is_hung_up_on_and_survived(open_cloud, garbage: bytes):
    cloud = open_cloud()
    with socket.create_connection(("127.0.0.1", cloud.server.port)) as scanner:
        scanner.sendall(garbage)
        with contextlib.suppress(OSError):  # already hung up on
            scanner.shutdown(socket.SHUT_WR)
        scanner.settimeout(WAIT_MS / 1000)
        with contextlib.suppress(ConnectionError):
            while scanner.recv(1000):
                pass
    with cloud.edge() as edge:
        edge.connect(soon())
        edge.send(b"after", soon())
        assert cloud.recv()[1] == b"after"


@pytest.fixture
def relay(open_cloud) -> Iterator[tuple[Cloud, Relay]]:
    cloud = open_cloud()
    relay = Relay(cloud.server.port)
    yield cloud, relay
    relay.close()


def test_an_edge_finds_the_cloud_again_after_the_connection_was_cut(relay):
    cloud, link = relay
    with DataClient(link.endpoint, EDGE, CLOUD.public) as edge:
        edge.connect(soon())
        edge.send(b"one", soon())
        assert cloud.recv()[1] == b"one"
        link.cut()
        with pytest.raises(LinkLost, match="was lost while an answer was waited for"):
            edge.recv(soon())
        edge.send(b"two", soon())
        assert cloud.recv()[1] == b"two"


def test_what_is_sent_while_the_connection_is_down_waits_for_it_until_the_deadline(relay):
    cloud, link = relay
    with DataClient(link.endpoint, EDGE, CLOUD.public) as edge:
        edge.connect(soon())
        link.refuse()
        with pytest.raises(LinkLost):
            edge.recv(soon())
        start = time.monotonic()
        with pytest.raises(LinkTimeout, match=r"no data connection within 200 ms: the connection was lost"):
            edge.send(b"lost", Deadline(200))
        assert 0.2 <= time.monotonic() - start < WAIT_MS / 2000
        threading.Timer(0.1, link.heal).start()
        edge.send(b"found", soon())
        assert cloud.recv()[1] == b"found"


def test_a_renewed_connection_is_another_one_and_gets_no_answer_of_the_old(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as edge:
        edge.connect(soon())
        edge.send(b"old", soon())
        old, _ = cloud.recv()
        edge.renew()
        edge.send(b"new", soon())
        new, data = cloud.recv()
        assert data == b"new"
        assert new != old
        cloud.server.send(old, b"late")
        cloud.server.send(new, b"right")
        assert edge.recv(soon()) == b"right"


def test_nothing_is_sent_once_the_deadline_is_over(open_cloud):
    cloud = open_cloud()
    with cloud.edge() as edge:
        edge.connect(soon())
        with pytest.raises(LinkTimeout, match="nothing sent, the 0 ms for it are over"):
            edge.send(b"too late", Deadline(0))
        assert cloud.server.recv(50) is None


def test_an_offer_is_taken_or_left_at_once(relay):
    cloud, link = relay
    with DataClient(link.endpoint, EDGE, CLOUD.public) as edge:
        edge.connect(soon())
        assert edge.offer(b"now")
        assert cloud.recv()[1] == b"now"
        link.refuse()
        with pytest.raises(LinkLost):
            edge.recv(soon())
        assert not edge.offer(b"never")


def test_closing_leaves_no_thread_and_no_open_port(open_cloud):
    before = threading.active_count()
    cloud = open_cloud()
    edge = cloud.edge()
    edge.connect(soon())
    assert threading.active_count() > before
    edge.close()
    edge.close()
    cloud.server.close()
    cloud.server.close()
    assert threading.active_count() == before
    with socket.create_server(("127.0.0.1", cloud.server.port), reuse_port=False):
        pass
