"""The connections that a listening socket accepted: how many there are, and what each sends without a message to show.

libzmq keeps the parts of a message until the last one is there, and counts none of them against its high-water mark.
Nothing else bounds a peer whose message never ends. The kernel's count of bytes does.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from testbed.link.sockets import MAX_MESSAGE_BYTES
from testbed.link.tcpinfo import received_bytes

MAX_CONNECTIONS = 128
"""At once. Half of `MAX_SESSIONS`, so that each peer has room for a session whatever the others do."""

MESSAGES_ON_THEIR_WAY = 8
"""How many messages of the largest size may wait to be read before their connection counts as one without end."""

LOOK_S = 0.05

_TCP_RMEM = Path("/proc/sys/net/ipv4/tcp_rmem")
_USUAL_RMEM = 6 * 1024 * 1024


@dataclass
class _Connection:
    inode: int
    address: str
    delivered: int = 0
    seen: int = 0
    base_bytes: int = 0


class Crowd:
    """Keeps a crowd within bounds: closes what sends without end, and the oldest silent one where there are too many.

    `delivered` may be called from another thread than the rest.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES, most: int = MAX_CONNECTIONS) -> None:
        self.allowance_bytes = MESSAGES_ON_THEIR_WAY * max_message_bytes + _receive_buffer_bytes()
        self._most = most
        self._connections: dict[int, _Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def accepted(self, fd: int, endpoint: str) -> str | None:
        """A connection to our end `endpoint` was made; returns the address of one that had to go for it."""
        found = _look_at(fd, int(endpoint.rpartition(":")[2]))
        if found is None:
            return None
        self._connections.pop(fd, None)
        self._connections[fd] = found
        if len(self._connections) <= self._most:
            return None
        silent = (each for each, connection in self._connections.items() if not connection.delivered)
        return self._close(next(silent, fd))

    def gone(self, fd: int) -> None:
        """A connection was closed."""
        self._connections.pop(fd, None)

    def delivered(self, fd: int) -> None:
        """A whole message came out of a connection."""
        connection = self._connections.get(fd)
        if connection is not None:
            connection.delivered += 1

    def without_end(self) -> list[str]:
        """Close the connections that sent more than they may without a message; returns their addresses."""
        closed = []
        for fd, connection in list(self._connections.items()):
            received = received_bytes(fd, connection.inode)
            if received is None:
                self.gone(fd)
            elif connection.delivered != connection.seen:
                connection.seen, connection.base_bytes = connection.delivered, received
            elif received - connection.base_bytes > self.allowance_bytes:
                closed.append(self._close(fd))
        return closed

    def _close(self, fd: int) -> str:
        """Shut a connection down, upon which libzmq drops it with all that it holds of it."""
        connection = self._connections.pop(fd)
        try:
            borrowed = socket.socket(fileno=fd)
        except OSError:
            return connection.address
        try:
            if os.fstat(fd).st_ino == connection.inode:
                # Reset, so that its sender hears of it while the kernel has no room for what it sends.
                borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                borrowed.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone by itself
        finally:
            borrowed.detach()
        return connection.address


def _look_at(fd: int, port: int) -> _Connection | None:
    """The connection behind a descriptor; None if libzmq has closed it meanwhile, and it may be anything now."""
    try:
        borrowed = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if borrowed.type != socket.SOCK_STREAM or borrowed.getsockname()[1] != port:
            return None
        return _Connection(os.fstat(fd).st_ino, str(borrowed.getpeername()[0]))
    except (OSError, IndexError):
        return None
    finally:
        borrowed.detach()


def _receive_buffer_bytes() -> int:
    """How much of what was received the kernel may hold for one connection."""
    try:
        return int(_TCP_RMEM.read_text().split()[2])
    except (OSError, ValueError, IndexError):
        return _USUAL_RMEM
