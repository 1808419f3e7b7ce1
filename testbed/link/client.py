"""The edge's end of the data plane: one connection of a DEALER, blocking calls, one thread.

A lost connection is made anew by libzmq, with back-off, for as long as the caller's deadline lets it. What was on its
way is lost with it: the cloud knows the new connection as a new peer.
"""

from __future__ import annotations

from types import TracebackType

import zmq
from zmq.utils.monitor import recv_monitor_message

from testbed.errors import LinkError
from testbed.link.deadline import Deadline
from testbed.link.keys import KeyPair, require_curve
from testbed.link.sockets import MAX_MESSAGE_BYTES, data_socket

RECONNECT_MS = 50
RECONNECT_MAX_MS = 1000
"""The pause between two tries doubles from the first to the second of these."""

_HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENTS = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED
_LOST_WAITING = "the data connection was lost while an answer was waited for"
_SILENT = "nothing listens there, or a firewall drops it"


class LinkTimeout(LinkError):  # noqa: N818
    """The peer did not answer before the deadline."""


class LinkLost(LinkError):  # noqa: N818
    """The connection broke while an answer was waited for; the answer will not come."""


class DataClient:
    """The edge's connection to its cloud.

    A reply that comes after its `LinkTimeout` is still delivered, so a caller that goes on after one
    tells replies apart by the frame header, or calls `renew`.
    """

    def __init__(
        self,
        endpoint: str,
        keys: KeyPair | None,
        server_public_key: str | None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        if (keys is None) != (server_public_key is None):
            raise LinkError(f"{endpoint}: CURVE needs both our key pair and the server's public key")
        if keys is not None:
            require_curve()
        self.endpoint = endpoint
        self._keys, self._server_public_key = keys, server_public_key
        self._max_message_bytes = max_message_bytes
        self._context = zmq.Context()
        self._open()

    def connect(self, deadline: Deadline) -> None:
        """Connect, and wait until the peer has let us in.

        Raises:
            LinkError: nothing listens there before the deadline, or the peer refuses.
        """
        self._dial()
        self._wait_until_let_in(deadline, patient=False)

    def renew(self) -> None:
        """Drop the connection and whatever is on its way, and begin to make another one; does not wait for it."""
        self._shut()
        self._open()
        self._dial()

    def request(self, data: bytes, deadline: Deadline) -> bytes:
        """Send, and wait for one reply.

        Raises:
            LinkTimeout: there is none before the deadline.
            LinkLost: the connection broke meanwhile.
        """
        self.send(data, deadline)
        return self.recv(deadline)

    def send(self, data: bytes, deadline: Deadline, *, awaiting: bool = False) -> None:
        """Hand a message to the kernel's queue, once there is a connection.

        A caller that is `awaiting` answers to earlier messages needs the connection on which it sent them.

        Raises:
            LinkTimeout: the connection is down or its queue full until the deadline.
            LinkLost: the connection broke while answers were awaited.
        """
        if deadline.expired:
            raise LinkTimeout(f"{self.endpoint}: nothing sent, the {deadline.timeout_ms} ms for it are over")
        if self.catch_up() and awaiting:
            raise LinkLost(f"{self.endpoint}: {_LOST_WAITING}")
        self._wait_until_let_in(deadline, patient=True)
        while not self.offer(data):
            if deadline.expired:
                raise LinkTimeout(f"{self.endpoint}: nothing could be sent for {deadline.timeout_ms} ms")
            self._socket.poll(deadline.remaining_ms, zmq.POLLOUT)

    def offer(self, data: bytes) -> bool:
        """Send if that is possible at once; returns whether it was."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: cannot send: {error}") from error
        return True

    def recv(self, deadline: Deadline) -> bytes:
        """The next message.

        Raises:
            LinkTimeout: there is none before the deadline.
            LinkLost: the connection broke meanwhile.
        """
        while True:
            ready = dict(self._poller.poll(deadline.remaining_ms))
            if self._socket in ready and (message := self._received()) is not None:
                return message
            if self._monitor in ready:
                if self._hear() == zmq.EVENT_DISCONNECTED:
                    raise LinkLost(f"{self.endpoint}: {_LOST_WAITING}")
            elif deadline.expired:
                raise LinkTimeout(f"{self.endpoint}: no reply within {deadline.timeout_ms} ms")

    def take(self) -> bytes | None:
        """A message that is there already, None if there is none; does not wait.

        Raises:
            LinkLost: a connection broke since the last look.
        """
        if self.catch_up():
            raise LinkLost(f"{self.endpoint}: the data connection was lost")
        return self._received()

    def look(self) -> bytes | None:
        """As `take`, for a caller that awaits answers: one that came before its connection broke still counts.

        Raises:
            LinkLost: there is none, and a connection broke since the last look.
        """
        message = self._received()
        if message is None and self.catch_up():
            raise LinkLost(f"{self.endpoint}: {_LOST_WAITING}")
        return message

    def catch_up(self) -> bool:
        """Take in what became of the connection meanwhile; returns whether one broke."""
        broke = False
        while int(self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            broke = self._hear() == zmq.EVENT_DISCONNECTED or broke
        return broke

    def close(self) -> None:
        """Close; what was not sent yet is dropped. More than once does no harm."""
        self._shut()
        self._context.term()

    def __enter__(self) -> DataClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _received(self) -> bytes | None:
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: cannot receive: {error}") from error

    def _open(self) -> None:
        self._socket = data_socket(self._context, zmq.DEALER, self._max_message_bytes)
        self._socket.immediate = True  # no queueing for a connection that is not there
        self._socket.reconnect_ivl, self._socket.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
        self._socket.ipv6 = "[" in self.endpoint
        if self._keys is not None and self._server_public_key is not None:
            self._socket.curve_publickey = self._keys.public.encode("ascii")
            self._socket.curve_secretkey = self._keys.secret.encode("ascii")
            self._socket.curve_serverkey = self._server_public_key.encode("ascii")
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(_EVENTS)
        self._poller = zmq.Poller()
        for socket in (self._socket, self._monitor):
            self._poller.register(socket, zmq.POLLIN)
        self._let_in, self._seen = False, _SILENT

    def _shut(self) -> None:
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close()

    def _dial(self) -> None:
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            raise LinkError(f"{self.endpoint}: not an endpoint to connect to: {error}") from error

    def _wait_until_let_in(self, deadline: Deadline, *, patient: bool) -> None:
        """Wait for the peer; a patient caller lets libzmq try again where a handshake failed."""
        while not self._let_in:
            if not self._monitor.poll(deadline.remaining_ms):
                raise LinkTimeout(f"{self.endpoint}: no data connection within {deadline.timeout_ms} ms: {self._seen}")
            if self._hear() & _HANDSHAKE_FAILED and not patient:
                raise LinkError(f"{self.endpoint}: {self._seen}")

    def _hear(self) -> int:
        """Take in one event of the connection."""
        event = int(recv_monitor_message(self._monitor)["event"])
        if event == zmq.EVENT_CONNECTED:
            self._seen = "something listens, but the handshake did not finish"
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._let_in = True
        elif event == zmq.EVENT_DISCONNECTED:
            self._let_in, self._seen = False, "the connection was lost and could not be made anew"
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._seen = "the peer refuses our CURVE key; it is not among its allowed clients"
        else:
            self._seen = (
                "the handshake failed: the peer has another CURVE key than we were "
                "given, only one side uses CURVE, or it is not a testbed worker"
            )
        return event
