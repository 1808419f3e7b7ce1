"""What a TCP connection of this process carried, as the kernel counted it (TCP_INFO)."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import NamedTuple

from testbed.errors import LinkError

# struct tcp_info of linux/tcp.h (kernel 6.x; the kernel only ever appends to it). Byte offsets:
_STATE_AT = 0  # u8 tcpi_state
_ESTABLISHED = 1  # TCP_ESTABLISHED of net/tcp_states.h; afterwards nothing but the end itself is carried
_OPTIONS_AT = 5  # u8 tcpi_options
_RTT_AT = 68  # u32 tcpi_rtt, microseconds
_CWND_AT = 80  # u32 tcpi_snd_cwnd, segments
_RETRANSMITS_AT = 100  # u32 tcpi_total_retrans
_ACKED_AT = 120  # u64 tcpi_bytes_acked, u64 tcpi_bytes_received, u32 tcpi_segs_out, u32 tcpi_segs_in (4.2)
_SENT_AT = 200  # u64 tcpi_bytes_sent, retransmissions included (4.19)
_AGAIN_AT = 208  # u64 tcpi_bytes_retrans (4.19)
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
    selective acknowledgements after a loss). `tx_bytes` includes retransmissions from Linux 4.19 on. `rtt_ms` is
    TCP's smoothed round trip, `cwnd` its congestion window in segments, both as they are now.
    """

    tx_bytes: int
    rx_bytes: int
    rtt_ms: float
    retransmits: int
    cwnd: int


class Place(NamedTuple):
    """How far a connection is: its name, HOST:PORT of this end, and bytes of its streams sent and received."""

    connection: str
    sent: int
    received: int


class Connection(NamedTuple):
    """An open TCP connection of this process."""

    name: str
    fd: int
    inode: int
    ip_bytes: int
    peer: str


def unmapped(address: str) -> str:
    """An IP address without the prefix of IPv4 on an IPv6 socket, and without a zone."""
    return address.removeprefix("::ffff:").partition("%")[0]


def connection_to(fd: int, peers: set[tuple[str, int]]) -> Connection | None:
    """The TCP connection behind a descriptor, None if it is anything else or leads elsewhere."""
    try:
        borrowed = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6) or borrowed.type != socket.SOCK_STREAM:
            return None
        host, port, *_ = borrowed.getpeername()
        if (unmapped(str(host)), int(port)) not in peers:
            return None
        # A mapped IPv4 address on an IPv6 socket travels as IPv4.
        ip_bytes = _IPV6_BYTES if ":" in unmapped(str(host)) else _IPV4_BYTES
        end, near, *_ = borrowed.getsockname()
        return Connection(f"{unmapped(str(end))}:{near}", fd, os.fstat(fd).st_ino, ip_bytes, unmapped(str(host)))
    except OSError:
        return None
    finally:
        borrowed.detach()


class Reading(NamedTuple):
    """What the kernel says of a connection now."""

    counters: Counters
    place: Place
    goes_on: bool


def read_counters(connection: Connection) -> Reading | None:
    """What the kernel says of a connection; None if its descriptor is no longer that socket."""
    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=connection.fd)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FULL_BYTES)
        # Checked afterwards: a descriptor that is still this socket now was so before.
        same = os.fstat(connection.fd).st_ino == connection.inode
        if not same:
            return None
        counters, goes_on = _counters(info, connection.ip_bytes), info[_STATE_AT] == _ESTABLISHED
        return Reading(counters, _place(info, connection.name), goes_on)
    except OSError:
        return None
    finally:
        borrowed.detach()


def _place(info: bytes, name: str) -> Place:
    acked, received, _, _ = _ACKED.unpack_from(info, _ACKED_AT)
    if len(info) < _AGAIN_AT + 8:
        return Place(name, acked, received)
    sent, again = (int.from_bytes(info[at : at + 8], sys.byteorder) for at in (_SENT_AT, _AGAIN_AT))
    return Place(name, sent - again, received)


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
    rtt_us, cwnd, retransmits = (
        int.from_bytes(info[at : at + 4], sys.byteorder) for at in (_RTT_AT, _CWND_AT, _RETRANSMITS_AT)
    )
    return Counters(sent + segments_out * header, received + segments_in * header, rtt_us / 1000, retransmits, cwnd)
