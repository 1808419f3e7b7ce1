"""The cloud's end of the data plane: a ROUTER on a port of its own, never through a tunnel."""

from __future__ import annotations

import errno
from collections.abc import Collection
from types import TracebackType

import zmq

from testbed.errors import LinkError
from testbed.link.crowd import Crowd
from testbed.link.doors import Doorkeeper
from testbed.link.keys import KeyPair, require_curve
from testbed.link.sockets import MAX_MESSAGE_BYTES, OnEvent, data_socket
from testbed.link.sparing import Sparing


class DataServer:
    """The cloud's end.

    With `keys`, only peers with one of the `allowed_clients` public keys are let in; without, anyone
    is, and the traffic is in the clear. `on_event` hears of `peer_refused` (from another thread),
    `frame_refused` and `peer_unreachable`, of each as often as `Sparing` lets it.

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
        if keys is not None:
            require_curve()
        self._context = zmq.Context()
        self._socket = data_socket(self._context, zmq.ROUTER, max_message_bytes)
        self._on_event = Sparing(on_event)
        self._crowd = Crowd(max_message_bytes)
        self._timeout_ms: int | None = None
        self._socket.router_mandatory = True
        self._socket.sndtimeo = 0  # one peer that does not read must not hold up the others
        self._socket.ipv6 = ":" in address
        if keys is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = keys.secret.encode("ascii")
            self._socket.zap_domain = b"data"
        self._doorkeeper = Doorkeeper(self._context, self._socket, frozenset(allowed_clients), on_event, self._crowd)
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
            whose = self._socket.recv(copy=False)
        except zmq.Again:
            return None
        peer = whose.bytes
        self._crowd.delivered(int(whose.get(zmq.SRCFD)))
        data = self._socket.recv()
        if self._socket.getsockopt(zmq.RCVMORE):
            parts = 1 + len(self._socket.recv_multipart())
            self._on_event("frame_refused", {"reason": "bad_parts", "peer": peer.hex(), "parts": parts})
            return None
        return peer, data

    @property
    def ready(self) -> bool:
        """Whether `recv` would not wait."""
        return bool(int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN)

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
        """Stop listening and drop all peers; more than once does no harm."""
        self._socket.close()
        self._doorkeeper.join()
        self._context.term()

    def __enter__(self) -> DataServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cannot_bind(host: str, port: int, error: zmq.ZMQError) -> str:
    doing = f"data plane: cannot listen on {host}:{port}: "
    if error.errno == errno.EADDRINUSE:
        return doing + f"the port is in use (ss -ltnp 'sport = :{port}' says by what); free it or set data_port: 0"
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return doing + "this node has no such address; correct `address` in its profile"
    if error.errno == errno.EACCES:
        return doing + "ports below 1024 are the system's; set another data_port"
    return doing + str(error)
