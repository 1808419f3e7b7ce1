"""The sockets on both sides of a shaper: what is asked of the kernel for them, and what it knows about them."""

from __future__ import annotations

import contextlib
import socket
import struct

from devices.links.conditions import Direction
from testbed.link.tcpinfo import unmapped

_MIN_RTT_AT = 148  # u32 tcpi_min_rtt of struct tcp_info in linux/tcp.h, microseconds (4.6)
_MIN_RTT = struct.Struct("=I")
_UNKNOWN = 0xFFFFFFFF

_AHEAD_S = 0.02
_LEAST_BYTES = 16 * 1024
_MOST_BYTES = 1024 * 1024
_BACKLOG = 128


def receive_bytes(direction: Direction) -> int | None:
    """How much the kernel may take in of a connection before the shaper reads it; None: as the kernel likes.

    What lies there counts as acknowledged for the sender, yet it has not begun to travel. So it is little: 20 ms of the
    mean rate, which covers the hop to the shaper and the moments when the shaper does not run, and at least 16 KiB.
    What is in flight on the path, and its queue, are inside the shaper.
    """
    if direction.capacity is None:
        return None
    return min(_MOST_BYTES, _LEAST_BYTES + round(_AHEAD_S * direction.capacity.mean_bytes_per_s))


def listening(address: str, port: int, mtu: int, receive: int | None) -> socket.socket:
    """Listen; connections have segments as they fit into `mtu`, so that the peer's kernel counts as many.

    Raises:
        OSError: it cannot.
    """
    ipv6 = ":" in address
    listener = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The option counts without TCP's own options: timestamps take 12 more bytes of each segment.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mtu - (60 if ipv6 else 40))
        if receive is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def connecting(host: str, port: int, receive: int | None) -> socket.socket:
    """A connection to the cloud's own endpoint, perhaps not made yet; where that fails, its first use says so."""
    cloud = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    if receive is not None:
        cloud.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    at_once(cloud)
    cloud.connect_ex((host, port))
    return cloud


def at_once(connection: socket.socket) -> None:
    """Never wait: neither this process for the socket, nor a small segment for the acknowledgement of another."""
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def name_of(edge: socket.socket) -> str:
    """The edge's end of its connection, HOST:PORT, as the edge itself has it where nothing translates addresses."""
    host, port, *_ = edge.getpeername()
    return f"{unmapped(str(host))}:{port}"


def shortest_rtt_ms(connection: socket.socket) -> float | None:
    """The shortest round trip of the last minutes; the mean would count how long the peer delays acknowledgements."""
    with contextlib.suppress(OSError, struct.error):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + _MIN_RTT.size)
        (rtt_us,) = _MIN_RTT.unpack_from(info, _MIN_RTT_AT)
        return None if rtt_us == _UNKNOWN else rtt_us / 1000
    return None
