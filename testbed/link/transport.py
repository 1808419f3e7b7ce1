"""The data plane: edge DEALER → cloud ROUTER on a port of its own, never through a tunnel.

No ZMTP heartbeats: on a slow link a heartbeat waits behind a payload and its timeout cuts the
connection. Queues and message sizes are finite. Each side owns its ZeroMQ context, so that closing
it leaves no socket and no thread behind.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from testbed.errors import LinkError
from testbed.link.keys import KeyPair

OnEvent: TypeAlias = Callable[[str, dict[str, Any]], None]

HIGH_WATER_MARK = 64
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# libzmq's limit counts what CURVE adds to a message (ZeroMQ RFC 26: command name 8, nonce 8, flags 1,
# MAC 16), and holds for the commands of the handshake too, which take some 300 bytes.
_CURVE_BYTES = 33
_HANDSHAKE_BYTES = 1024
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
_HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

SideT = TypeVar("SideT", bound="_Side")


class LinkTimeout(LinkError):  # noqa: N818
    """The peer did not answer before the deadline."""


class _Side:
    """What the two ends have in common: one socket in one context, closed once."""

    def __init__(self, kind: int, max_message_bytes: int) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._socket.linger = 0
        self._socket.sndhwm = self._socket.rcvhwm = HIGH_WATER_MARK
        self._socket.maxmsgsize = max(max_message_bytes, _HANDSHAKE_BYTES) + _CURVE_BYTES

    def close(self) -> None:
        """Close; what was not sent yet is dropped. More than once does no harm."""
        self._socket.close()
        self._context.term()

    def __enter__(self: SideT) -> SideT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DataServer(_Side):
    """The cloud's end.

    With `keys`, only peers with one of the `allowed_clients` public keys are let in; without, anyone
    is, and the traffic is in the clear. `on_event` hears of `peer_refused` (from another thread),
    `frame_refused` and `peer_unreachable`.

    Attributes:
        endpoint: where it listens, with the port that port 0 became.
        port: that port.
    """

    def __init__(
        self,
        address: str,
        port: int,
        keys: KeyPair | None,
        allowed_clients: Collection[str],
        on_event: OnEvent,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        super().__init__(zmq.ROUTER, max_message_bytes)
        self._on_event = on_event
        self._timeout_ms: int | None = None
        self._socket.router_mandatory = True
        self._socket.sndtimeo = 0  # one peer that does not read must not hold up the others
        self._socket.ipv6 = ":" in address
        if keys is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = keys.secret.encode("ascii")
            self._socket.zap_domain = b"data"
        self._doorkeeper = Doorkeeper(self._context, self._socket, frozenset(allowed_clients), on_event)
        host = f"[{address}]" if ":" in address else address
        try:
            self._socket.bind(f"tcp://{host}:{port}")
        except zmq.ZMQError as error:
            self.close()
            raise LinkError(_cannot_bind(host, port, error)) from error
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)
        self.port = int(self.endpoint.rpartition(":")[2])

    def recv(self, timeout_ms: int) -> tuple[bytes, bytes] | None:
        """The next message and the peer it came from, None if there is none before the timeout (-1: wait)."""
        if timeout_ms != self._timeout_ms:
            self._socket.rcvtimeo = self._timeout_ms = timeout_ms
        # Part by part: pyzmq's recv_multipart and send_multipart take several times as long.
        try:
            peer = self._socket.recv()
        except zmq.Again:
            return None
        data = self._socket.recv()
        if self._socket.getsockopt(zmq.RCVMORE):
            parts = 1 + len(self._socket.recv_multipart())
            self._on_event("frame_refused", {"reason": "bad_parts", "peer": peer.hex(), "parts": parts})
            return None
        return peer, data

    def send(self, peer: bytes, data: bytes) -> bool:
        """Send to a peer; False, and an event, if it is gone or does not read."""
        try:
            self._socket.send(peer, zmq.SNDMORE)
            self._socket.send(data)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise LinkError(f"{self.endpoint}: cannot send: {error}") from error
            reason = "gone" if error.errno == zmq.EHOSTUNREACH else "does not read"
            self._on_event("peer_unreachable", {"peer": peer.hex(), "reason": reason})
            return False
        return True

    def close(self) -> None:
        """Stop listening and drop all peers."""
        self._socket.close()
        self._doorkeeper.join()
        self._context.term()


class DataClient(_Side):
    """The edge's end: one connection, blocking calls, one thread.

    A reply that comes after its `LinkTimeout` is still delivered, so a caller that goes on after one
    tells replies apart by the frame header.
    """

    def __init__(
        self,
        endpoint: str,
        keys: KeyPair | None,
        server_public_key: str | None,
        timeout_ms: int,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        if (keys is None) != (server_public_key is None):
            raise LinkError(f"{endpoint}: CURVE needs both our key pair and the server's public key")
        super().__init__(zmq.DEALER, max_message_bytes)
        self.endpoint = endpoint
        self._timeout_ms = timeout_ms
        self._socket.rcvtimeo = self._socket.sndtimeo = timeout_ms
        self._socket.immediate = True  # no queueing for a connection that is not there
        self._socket.ipv6 = "[" in endpoint
        if keys is not None and server_public_key is not None:
            self._socket.curve_publickey = keys.public.encode("ascii")
            self._socket.curve_secretkey = keys.secret.encode("ascii")
            self._socket.curve_serverkey = server_public_key.encode("ascii")

    def connect(self) -> None:
        """Connect, and wait until the peer has let us in.

        Raises:
            LinkError: nothing listens there before the deadline, or the peer refuses.
        """
        deadline_ns = time.monotonic_ns() + self._timeout_ms * 1_000_000
        monitor = self._socket.get_monitor_socket(
            zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _HANDSHAKE_FAILED
        )
        try:
            self._socket.connect(self.endpoint)
            self._wait_until_let_in(monitor, deadline_ns)
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: not an endpoint to connect to: {error}") from error
        finally:
            self._socket.disable_monitor()
            monitor.close(linger=0)

    def _wait_until_let_in(self, monitor: zmq.Socket[bytes], deadline_ns: int) -> None:
        answered = False
        while True:
            left_ms = (deadline_ns - time.monotonic_ns()) // 1_000_000
            if left_ms <= 0 or not monitor.poll(left_ms):
                seen = (
                    "something listens, but the handshake did not finish"
                    if answered
                    else "nothing listens there, or a firewall drops it"
                )
                raise LinkError(f"{self.endpoint}: no data connection within {self._timeout_ms} ms: {seen}")
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.EVENT_CONNECTED:
                answered = True
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise LinkError(f"{self.endpoint}: the peer refuses our CURVE key; it is not among its allowed clients")
            elif event & _HANDSHAKE_FAILED:
                raise LinkError(
                    f"{self.endpoint}: the handshake failed: the peer has another CURVE key than we were "
                    "given, only one side uses CURVE, or it is not a testbed worker"
                )

    def request(self, data: bytes) -> bytes:
        """Send, and wait for one reply.

        Raises:
            LinkTimeout: there is none before the deadline.
        """
        self.send(data)
        return self.recv()

    def send(self, data: bytes) -> None:
        """Hand a message to the kernel's queue.

        Raises:
            LinkTimeout: the connection is down or its queue full until the deadline.
        """
        try:
            self._socket.send(data)
        except zmq.Again as error:
            raise LinkTimeout(f"{self.endpoint}: nothing could be sent for {self._timeout_ms} ms") from error
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: cannot send: {error}") from error

    def recv(self) -> bytes:
        """The next message.

        Raises:
            LinkTimeout: there is none before the deadline.
        """
        try:
            return self._socket.recv()
        except zmq.Again as error:
            raise LinkTimeout(f"{self.endpoint}: no reply within {self._timeout_ms} ms") from error
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: cannot receive: {error}") from error


class Doorkeeper:
    """A thread that answers libzmq's ZAP questions (RFC 27) and reports who was turned away."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        guarded: zmq.Socket[bytes],
        allowed: frozenset[str],
        on_event: OnEvent,
    ) -> None:
        self._allowed = allowed
        self._on_event = on_event
        self._zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP_ENDPOINT)
        # A handshake that fails before the client's key is known never gets to ZAP.
        self._monitor = guarded.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_MONITOR_STOPPED
        )
        self._thread = threading.Thread(target=self._serve, name="doorkeeper", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, which comes when the guarded socket is closed."""
        self._thread.join()

    def _serve(self) -> None:
        try:
            poller = zmq.Poller()
            poller.register(self._zap, zmq.POLLIN)
            poller.register(self._monitor, zmq.POLLIN)
            while True:
                ready = dict(poller.poll())
                if self._zap in ready:
                    self._answer()
                if self._monitor in ready:
                    event = recv_monitor_message(self._monitor)["event"]
                    if event == zmq.EVENT_MONITOR_STOPPED:
                        return
                    self._on_event("peer_refused", {"reason": "the handshake failed"})
        finally:
            self._zap.close()
            self._monitor.close(linger=0)

    def _answer(self) -> None:
        parts = self._zap.recv_multipart()
        version, request, address, mechanism, credentials = *parts[:2], parts[3], parts[5], parts[6:]
        key = z85.encode(credentials[0]).decode("ascii") if mechanism == b"CURVE" else ""
        admitted = key in self._allowed
        status = (b"200", b"OK") if admitted else (b"400", b"key not allowed")
        self._zap.send_multipart((version, request, *status, b"", b""))
        if not admitted:
            self._on_event(
                "peer_refused",
                {"reason": "key not allowed", "address": address.decode("ascii", "replace"), "key": key},
            )


def _cannot_bind(host: str, port: int, error: zmq.ZMQError) -> str:
    doing = f"data plane: cannot listen on {host}:{port}: "
    if error.errno == errno.EADDRINUSE:
        return doing + f"the port is in use (ss -ltnp 'sport = :{port}' says by what); free it or set data_port: 0"
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return doing + "this node has no such address; correct `address` in its profile"
    if error.errno == errno.EACCES:
        return doing + "ports below 1024 are the system's; set another data_port"
    return doing + str(error)
