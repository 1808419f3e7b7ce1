"""Network interfaces of this machine: over which one an address is reached, who is connected, and what it carried."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

from testbed.errors import LinkError

SYS = Path("/sys/class/net")

# rtnetlink(7) and linux/rtnetlink.h.
_RTM_GETROUTE, _NLMSG_ERROR, _NLM_F_REQUEST = 26, 2, 1
_RTA_DST, _RTA_OIF = 1, 4
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, destination bits, …, flags
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_MOST_BYTES = 65536

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"  # include/net/tcp_states.h


def interface_to(address: str) -> str:
    """The interface over which the kernel sends to an address now; `lo` for this machine's own.

    Raises:
        LinkError: it is no IP address, or there is no way to it.
    """
    try:
        target = ipaddress.ip_address(address.partition("%")[0])
        family = socket.AF_INET6 if target.version == 6 else socket.AF_INET
        attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(target.packed), _RTA_DST) + target.packed
        body = _ROUTE.pack(family, 8 * len(target.packed), 0, 0, 0, 0, 0, 0, 0) + attribute
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(2.0)
            kernel.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body)
            answer = kernel.recv(_MOST_BYTES)
        return socket.if_indextoname(_outgoing(answer))
    except (OSError, ValueError) as error:
        raise LinkError(f"{address}: over which interface it is reached is not known: {error}") from error


def peers_at(port: int) -> set[str]:
    """The addresses that have a connection to a TCP port of this machine, whichever process holds its end.

    Raises:
        LinkError: the kernel's list cannot be read.
    """
    found = set()
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        except OSError as error:
            raise LinkError(f"{table}: cannot be read: {error.strerror}") from error
        for line in lines:
            _, here, there, state, *_ = line.split()
            if state == _ESTABLISHED and int(here.rpartition(":")[2], 16) == port:
                found.add(_address(there.rpartition(":")[0]))
    return found


class InterfaceCounters:
    """What an interface has sent and received since it is there, all traffic, link-layer headers included.

    Raises:
        LinkError: there is no such interface.
    """

    def __init__(self, name: str, sys_class_net: Path = SYS) -> None:
        self.name = name
        self._fds: list[int] = []
        try:
            for counter in ("tx_bytes", "rx_bytes"):
                self._fds.append(os.open(sys_class_net / name / "statistics" / counter, os.O_RDONLY))
        except OSError as error:
            self.close()
            raise self._lost(error) from error

    def read(self) -> tuple[int, int]:
        """Bytes sent and received.

        Raises:
            LinkError: the interface is gone.
        """
        try:
            sent, received = (int(os.pread(fd, 64, 0)) for fd in self._fds)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        return sent, received

    def close(self) -> None:
        """Close the kernel's files; more than once does no harm."""
        while self._fds:
            os.close(self._fds.pop())

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"{self.name}: the counters of this network interface cannot be read: {error}")


def _outgoing(answer: bytes) -> int:
    """The index of the interface in an answer to RTM_GETROUTE."""
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-code, os.strerror(-code))
    at = _HEADER.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= min(length, len(answer)):
        size, attribute = _ATTRIBUTE.unpack_from(answer, at)
        if attribute == _RTA_OIF:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + size], sys.byteorder)
        at += max(_ATTRIBUTE.size, -(-size // 4) * 4)
    raise ValueError("the kernel's route names none")


def _address(words: str) -> str:
    """An address as /proc/net/tcp has it: 32-bit words in this machine's byte order."""
    packed = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
