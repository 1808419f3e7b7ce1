"""Route netlink by hand: what the kernel says of this machine's queues and routes, and requests sent as they are."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
import sys
from types import TracebackType
from typing import NamedTuple

from devices.base.errors import DeviceError

NEW_QDISC, DEL_QDISC, GET_QDISC, NEW_CLASS, NEW_FILTER = 36, 37, 38, 40, 44  # linux/rtnetlink.h
CHANGE, ADD = 0x0, 0x400 | 0x200  # NLM_F_CREATE | NLM_F_EXCL
ROOT = 0xFFFFFFFF
INGRESS = 0xFFFFFFF1

_GET_ROUTE, _RTA_DST, _RTA_OIF = 26, 1, 4
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_KIND = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_CAPPED, _ACK_TLVS, _ACK_MESSAGE = 0x100, 0x200, 1
_GET_MTU = 0x8921  # SIOCGIFMTU
_ANSWER_TIMEOUT_S = 10.0
_HEADER = struct.Struct("=IHHII")
_TCMSG = struct.Struct("=BxxxiIII")
_ROUTE = struct.Struct("=BBBBBBBBI")


class KernelError(DeviceError):
    """The kernel refused a request; `errno` says why, as a number."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{os.strerror(code)} ({said})" if said else os.strerror(code))
        self.errno = code


class Queue(NamedTuple):
    """A queueing discipline of an interface; a `handle` of 0 is what the kernel made by itself."""

    kind: str
    handle: int
    parent: int


class Netlink:
    """A socket to this network namespace's kernel; one thread at a time.

    Raises:
        DeviceError: (every call) the kernel does not answer, or refuses (`KernelError`).
    """

    def __init__(self) -> None:
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """No more requests."""
        self._socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> None:
        """Have something done, and wait until it is."""
        self._ask(kind, flags | _ACK, body)

    def queues(self, interface: str) -> list[Queue]:
        """The queueing disciplines of an interface, its root first; not those for what it receives."""
        index = index_of(interface)
        found = []
        for kind, body in self._ask(GET_QDISC, _DUMP, _TCMSG.pack(0, index, 0, 0, 0)):
            _, of, handle, parent, _ = _TCMSG.unpack_from(body)
            # Older kernels tell of every interface, whichever was asked for.
            if kind == NEW_QDISC and of == index and parent != INGRESS:
                name = attributes(body[_TCMSG.size :])[_KIND].rstrip(b"\0").decode()
                found.append(Queue(name, handle, parent))
        return sorted(found, key=lambda queue: queue.parent != ROOT)

    def delete_root(self, interface: str) -> None:
        """Delete an interface's own queues; the kernel puts its default in their place at once."""
        self.request(DEL_QDISC, 0, _TCMSG.pack(0, index_of(interface), 0, ROOT, 0))

    def interface_towards(self, address: str) -> str:
        """The interface on which packets to an IP address leave."""
        peer = ipaddress.ip_address(address)
        family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
        to = struct.pack("=HH", 4 + len(peer.packed), _RTA_DST) + peer.packed
        request = _ROUTE.pack(family, 8 * len(peer.packed), 0, 0, 0, 0, 0, 0, 0) + to
        for _, body in self._ask(_GET_ROUTE, 0, request):
            leaving = attributes(body[_ROUTE.size :]).get(_RTA_OIF)
            if leaving is not None:
                return socket.if_indextoname(int.from_bytes(leaving, sys.byteorder))
        raise DeviceError(f"there is no route to {address}")

    def _ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        """Kind and body of each message that answers; an acknowledgement is none."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, self._sequence, 0)
        answers: list[tuple[int, bytes]] = []
        try:
            self._socket.sendto(header + body, (0, 0))
            while True:
                data = self._socket.recv(1 << 18)
                while len(data) >= _HEADER.size:
                    length, of, options, sequence, _ = _HEADER.unpack_from(data)
                    message, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                    if sequence != self._sequence:
                        continue  # of a request that was given up
                    if of == _ERROR:
                        _raise(options, message)
                        return answers
                    if of == _DONE:
                        return answers
                    answers.append((of, message))
                if answers and not flags & (_DUMP | _ACK):
                    return answers
        except TimeoutError:
            raise DeviceError(f"the kernel did not answer within {_ANSWER_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise DeviceError(f"the kernel cannot be asked: {error.strerror}") from error


def attributes(data: bytes) -> dict[int, bytes]:
    """Number → content of netlink attributes that follow each other."""
    found = {}
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[number] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def index_of(interface: str) -> int:
    """The kernel's number of an interface.

    Raises:
        KernelError: there is none of that name.
    """
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        raise KernelError(errno.ENODEV, interface) from None


def mtu_of(interface: str) -> int:
    """Bytes of the largest IP packet that an interface sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _GET_MTU, struct.pack("16si12x", interface.encode(), 0))
    return int(struct.unpack("16si12x", answer)[1])


def _raise(options: int, message: bytes) -> None:
    code = -int(struct.unpack_from("=i", message)[0])
    if code:
        # With `_CAPPED` only the header of what was asked stands between the code and the kernel's own words.
        asked = _HEADER.size if options & _CAPPED else (_HEADER.unpack_from(message, 4)[0] + 3) & ~3
        said = attributes(message[4 + asked :]).get(_ACK_MESSAGE, b"") if options & _ACK_TLVS else b""
        raise KernelError(code, said.rstrip(b"\0").decode(errors="replace"))
