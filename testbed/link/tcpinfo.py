"""What the data connection really cost, as the kernel counted it."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from testbed.errors import LinkError

# struct tcp_info of linux/tcp.h (kernel 6.x; the kernel only ever appends to it). Byte offsets:
_OPTIONS_AT = 5  # u8 tcpi_options
_RTT_AT = 68  # u32 tcpi_rtt, microseconds
_RETRANSMITS_AT = 100  # u32 tcpi_total_retrans
_ACKED_AT = 120  # u64 tcpi_bytes_acked, u64 tcpi_bytes_received, u32 tcpi_segs_out, u32 tcpi_segs_in (4.2)
_SENT_AT = 200  # u64 tcpi_bytes_sent, retransmissions included (4.19)
_ACKED = struct.Struct("=QQII")
_NEEDED_BYTES = _ACKED_AT + _ACKED.size
_FULL_BYTES = 256
_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS in tcpi_options

_IPV4_BYTES = 20
_IPV6_BYTES = 40
_TCP_BYTES = 20
_TIMESTAMP_BYTES = 12  # RFC 7323, with its two bytes of padding


class Counters(NamedTuple):
    """Since the connection was made. Bytes are TCP payload plus IP and TCP headers of every segment.

    Ethernet framing is not counted, nor are TCP options other than timestamps (those of the handshake,
    selective acknowledgements after a loss). `tx_bytes` includes retransmissions from Linux 4.19 on.
    """

    tx_bytes: int
    rx_bytes: int
    rtt_ms: float
    retransmits: int


class _Connection(NamedTuple):
    """An open TCP connection of this process."""

    fd: int
    inode: int
    ip_bytes: int


class ConnectionMeter:
    """Reads the counters of this process's one TCP connection to an endpoint (`tcp://HOST:PORT`).

    They go on counting over connections that follow one another. The descriptor stays libzmq's: it is borrowed for each
    reading, since a duplicate would keep the connection open after libzmq has closed it.

    Raises:
        LinkError: there is not exactly one such connection.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._peers = _addresses(endpoint)
        self._given_up: set[int] = set()
        self._connection = self._find()
        if self._connection is None:
            raise LinkError(f"{endpoint}: {self._wrong_number(0)}")
        self._before = self._last = Counters(0, 0, 0.0, 0)

    def read(self) -> Counters:
        """The counters now; those of the last reading while there is no connection.

        Raises:
            LinkError: the connection of the last reading was lost, and with it what it still carried. Said once: later
                readings go on from the last one.
        """
        before = self._connection
        now = None if before is None else _read_counters(before)
        if now is None:
            self._before, self._connection = self._last, None
            self._connection = self._find()
            if before is not None:
                seen = self._wrong_number(0) if self._connection is None else "it was lost and made anew"
                raise LinkError(f"{self.endpoint}: what the lost data connection carried is not known: {seen}")
            now = None if self._connection is None else _read_counters(self._connection)
        if now is not None:
            self._last = _added(self._before, now)
        return self._last

    def give_up(self) -> None:
        """Count the present connection no further: whoever asked for it replaces it by another."""
        if self._connection is not None:
            # libzmq closes it in its own time, until when the process has two.
            self._given_up.add(self._connection.inode)
        self._before, self._connection = self._last, None

    def _find(self) -> _Connection | None:
        """The connection, None if there is none."""
        found = []
        for entry in Path("/proc/self/fd").iterdir():
            connection = _connection_to(int(entry.name), self._peers)
            if connection is not None and connection.inode not in self._given_up:
                found.append(connection)
        if len(found) > 1:
            raise LinkError(f"{self.endpoint}: {self._wrong_number(len(found))}")
        return found[0] if found else None

    @staticmethod
    def _wrong_number(found: int) -> str:
        return f"this process has {found} TCP connections there, not one, so its traffic cannot be counted"


def _added(before: Counters, now: Counters) -> Counters:
    """The counters of a connection on top of those of the ones before it."""
    return Counters(
        before.tx_bytes + now.tx_bytes,
        before.rx_bytes + now.rx_bytes,
        now.rtt_ms,
        before.retransmits + now.retransmits,
    )


def _addresses(endpoint: str) -> set[tuple[str, int]]:
    parts = urlsplit(endpoint)
    try:
        if parts.scheme != "tcp" or not parts.hostname or not parts.port:
            raise LinkError(f"{endpoint}: not a tcp://HOST:PORT endpoint")
        resolved = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise LinkError(f"{endpoint}: cannot be resolved: {error}") from error
    return {(_unmapped(str(address[0])), int(address[1])) for *_, address in resolved}


def _unmapped(address: str) -> str:
    return address.removeprefix("::ffff:").partition("%")[0]


def _connection_to(fd: int, peers: set[tuple[str, int]]) -> _Connection | None:
    """The TCP connection behind a descriptor, None if it is anything else or leads elsewhere."""
    try:
        borrowed = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.type != socket.SOCK_STREAM:
            return None
        host, port, *_ = borrowed.getpeername()
        if (_unmapped(str(host)), int(port)) not in peers:
            return None
        # A mapped IPv4 address on an IPv6 socket travels as IPv4.
        ip_bytes = _IPV6_BYTES if ":" in _unmapped(str(host)) else _IPV4_BYTES
        return _Connection(fd, os.fstat(fd).st_ino, ip_bytes)
    except OSError:
        return None
    finally:
        borrowed.detach()


def _read_counters(connection: _Connection) -> Counters | None:
    """The counters of a connection, None if its descriptor is no longer that socket."""
    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=connection.fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FULL_BYTES)
        # Checked afterwards: a descriptor that is still this socket now was so before.
        same = os.fstat(connection.fd).st_ino == connection.inode
        return _counters(info, connection.ip_bytes) if same else None
    except OSError:
        return None
    finally:
        borrowed.detach()


def received_bytes(fd: int, inode: int) -> int | None:
    """Payload that a connection took in since it was made; None if the descriptor is not that socket any more."""
    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FULL_BYTES)
        if os.fstat(fd).st_ino != inode:
            return None
        return int(_ACKED.unpack_from(info, _ACKED_AT)[1])
    except (OSError, struct.error):
        return None
    finally:
        borrowed.detach()


def _counters(info: bytes, ip_bytes: int) -> Counters:
    if len(info) < _NEEDED_BYTES:
        raise LinkError(
            f"this kernel's TCP_INFO has {len(info)} bytes, {_NEEDED_BYTES} are needed to count traffic "
            "(Linux 4.2 or newer)"
        )
    sent, received, segments_out, segments_in = _ACKED.unpack_from(info, _ACKED_AT)
    if len(info) >= _SENT_AT + 8:
        sent = int.from_bytes(info[_SENT_AT : _SENT_AT + 8], sys.byteorder)
    header = ip_bytes + _TCP_BYTES + (_TIMESTAMP_BYTES if info[_OPTIONS_AT] & _TIMESTAMPS else 0)
    rtt_us = int.from_bytes(info[_RTT_AT : _RTT_AT + 4], sys.byteorder)
    retransmits = int.from_bytes(info[_RETRANSMITS_AT : _RETRANSMITS_AT + 4], sys.byteorder)
    return Counters(sent + segments_out * header, received + segments_in * header, rtt_us / 1000, retransmits)
