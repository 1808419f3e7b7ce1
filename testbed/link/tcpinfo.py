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


class ConnectionMeter:
    """Reads the counters of this process's one TCP connection to an endpoint (`tcp://HOST:PORT`).

    The descriptor stays libzmq's: it is borrowed for each reading, since a duplicate would keep the
    connection open after libzmq has closed it.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._peers = _addresses(endpoint)
        self._fd, self._inode, self._ip_bytes = self._find()
        self._before = Counters(0, 0, 0.0, 0)
        self._last = self._before

    def read(self) -> Counters:
        """The counters now.

        Raises:
            LinkError: the connection is gone; or it is another one than at the last reading, once, since
                what the lost one still carried is unknown. Later readings go on from the last one.
        """
        info = _read_info(self._fd, self._inode)
        if info is None:
            self._fd, self._inode, self._ip_bytes = self._find()
            self._before = self._last
            raise LinkError(
                f"{self.endpoint}: the data connection was lost and made anew; its traffic in between is not known"
            )
        now = _counters(info, self._ip_bytes)
        before = self._before
        self._last = Counters(
            before.tx_bytes + now.tx_bytes,
            before.rx_bytes + now.rx_bytes,
            now.rtt_ms,
            before.retransmits + now.retransmits,
        )
        return self._last

    def _find(self) -> tuple[int, int, int]:
        """Descriptor, inode and IP header size of the connection."""
        found = []
        for entry in Path("/proc/self/fd").iterdir():
            fd = int(entry.name)
            peer = _peer_of(fd)
            if peer is not None and (_unmapped(peer[0]), peer[1]) in self._peers:
                # A mapped IPv4 address on an IPv6 socket travels as IPv4.
                ip_bytes = _IPV6_BYTES if ":" in _unmapped(peer[0]) else _IPV4_BYTES
                found.append((fd, os.fstat(fd).st_ino, ip_bytes))
        if len(found) != 1:
            raise LinkError(
                f"{self.endpoint}: this process has {len(found)} TCP connections there, not one, "
                "so its traffic cannot be counted"
            )
        return found[0]


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


def _peer_of(fd: int) -> tuple[str, int] | None:
    """Address and port that a descriptor is connected to over TCP, None if it is anything else."""
    try:
        borrowed = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.type != socket.SOCK_STREAM:
            return None
        peer = borrowed.getpeername()
        return str(peer[0]), int(peer[1])
    except OSError:
        return None
    finally:
        borrowed.detach()


def _read_info(fd: int, inode: int) -> bytes | None:
    """TCP_INFO of a descriptor, None if it is no longer that socket."""
    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FULL_BYTES)
        # Checked afterwards: a descriptor that is still this socket now was so before.
        return info if os.fstat(fd).st_ino == inode else None
    except OSError:
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
