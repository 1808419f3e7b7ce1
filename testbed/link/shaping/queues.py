"""The kernel's queues on one interface that shape flows of the data plane and let everything else by.

    root htb 7e57:, what no filter names passes at once
      u32 filter: TCP, peer's address, port → class 7e57:N
        tbf 7e57+2N-1: the rate; it also splits what TCP hands over in one piece into packets
          netem 7e57+2N: delay, jitter and loss of each packet, where there are any
      u32 filter: UDP from a socket of this process → class 7e57:fff
        blackhole: nothing comes out

A tbf that waits for tokens is not woken when it is given more (tbf_change), and neither is the queue above. A packet
that comes has the whole tree looked at, so one is sent into the black hole after each change.
pyroute2 writes the requests; they go through a plain socket. Its own takes milliseconds for each, and a trace changes
the rate 50 times a second on a machine whose energy is measured.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Any

from devices.links.conditions import Direction
from devices.netlink import ADD, CHANGE, NEW_CLASS, NEW_FILTER, NEW_QDISC, ROOT, KernelError, Netlink, index_of
from devices.settings.qdisc import HANDLE
from testbed.errors import LinkError
from testbed.link.shaping.buckets import Bucket
from testbed.link.shaping.options import (
    ETH_P_IP,
    Flow,
    htb_class,
    needs_netem,
    netem,
    new_message,
    selector,
    tbf,
    ticks_up,
)

NEEDS = "shaping by the kernel needs root or the capability CAP_NET_ADMIN; use `shaping: user`, or see docs/hardware.md"
_RATE_FROM_END, _BUFFER_FROM_END = 28, 8
"""Where struct tc_tbf_qopt, which ends a request for tbf, has its rate.rate and its buffer."""

_BLACK_HOLE = 0xFFF
_DISCARD = 9
_HEADER_BYTES = 16


class Queues:
    """The queues of one interface; whoever makes them has noted that and deletes them.

    Args:
        netlink: to the kernel.
        interface: whose queues.
        mtu: its own, in bytes.
        peer: the IP address of any node beyond this interface.

    Raises:
        LinkError: (every call) the kernel refuses, or there is no pyroute2 here.
    """

    def __init__(self, netlink: Netlink, interface: str, mtu: int, peer: str) -> None:
        self.interface, self.mtu = interface, mtu
        self._netlink, self._index = netlink, index_of(interface)
        self._netem: set[int] = set()
        self._change: dict[int, bytearray] = {}
        self._peer = peer
        self._waker = socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM)

    def begin(self) -> None:
        """Put the root there, under which everything passes at once."""
        options = ("TCA_HTB_INIT", {"version": 3, "rate2quantum": 10, "defcls": 0, "debug": 0, "direct_pkts": 0})
        self._do(NEW_QDISC, ADD, "htb", HANDLE, ROOT, {"attrs": [options]})
        try:
            self._waker.connect((self._peer, _DISCARD))
        except OSError as error:
            raise LinkError(f"{self.interface}: no way to {self._peer}: {error.strerror}") from error
        self._class(_BLACK_HOLE)
        self._do(NEW_QDISC, ADD, "blackhole", HANDLE - 0x10000, HANDLE | _BLACK_HOLE, None)
        self._filter(selector(self._peer, self._waker.getsockname()[1], False, socket.IPPROTO_UDP), _BLACK_HOLE)

    def add(self, number: int, flow: Flow, bucket: Bucket) -> None:
        """Shape a flow; `number` counts from 1."""
        self._class(number)
        options = tbf(flow.direction, self.mtu)
        self._change[number] = self._request("tbf", _tbf(number), HANDLE | number, options)
        self.set_bucket(number, bucket, flags=ADD)
        self.set_delay(number, flow.direction, 0.0)
        self._filter(selector(flow.peer, flow.port, flow.to_port), number)

    def set_bucket(self, number: int, bucket: Bucket, flags: int = CHANGE) -> None:
        """Let another rate through, from now on; what waits stays."""
        request = self._change[number]
        struct.pack_into("=I", request, len(request) - _RATE_FROM_END, bucket.rate)
        struct.pack_into("=I", request, len(request) - _BUFFER_FROM_END, ticks_up(1e9 * bucket.burst / bucket.rate))
        self._send(NEW_QDISC, flags, "tbf", request)
        with contextlib.suppress(OSError):
            self._waker.send(b"")

    def close(self) -> None:
        """Keep nothing open; the queues stay."""
        self._waker.close()

    def close_gate(self, number: int) -> None:
        """Let nothing through: what waits stays, what comes is lost."""
        # No packet is as small as the bucket.
        self.set_bucket(number, Bucket(rate=8, burst=2))

    def set_delay(self, number: int, direction: Direction, extra_ms: float) -> None:
        """Give packets that come from now on the direction's delay, jitter and loss, with some delay on top."""
        there = number in self._netem
        if there or needs_netem(direction) or extra_ms:
            options = netem(direction, extra_ms, self.mtu)
            self._do(NEW_QDISC, CHANGE if there else ADD, "netem", _tbf(number) + 0x10000, _tbf(number) | 1, options)
            self._netem.add(number)

    def _class(self, number: int) -> None:
        self._do(NEW_CLASS, ADD, "htb", HANDLE | number, HANDLE, htb_class())

    def _filter(self, selected: tuple[list[str], int], number: int) -> None:
        keys, protocol = selected
        # Filters of one priority are of one protocol.
        priority = 1 if protocol == ETH_P_IP else 2
        options = {"attrs": [("TCA_U32_CLASSID", HANDLE | number), ("TCA_U32_SEL", {"keys": keys})]}
        self._do(NEW_FILTER, ADD, "u32", 0, HANDLE, options, priority << 16 | socket.htons(protocol))

    def _do(self, what: int, flags: int, kind: str, handle: int, parent: int, options: Any, info: int = 0) -> None:
        self._send(what, flags, kind, self._request(kind, handle, parent, options, info))

    def _request(self, kind: str, handle: int, parent: int, options: Any, info: int = 0) -> bytearray:
        message = new_message()
        message.update(index=self._index, handle=handle, parent=parent, info=info)
        message["attrs"] = [("TCA_KIND", kind)]
        if options is not None:
            message["attrs"].append(("TCA_OPTIONS", options))
        message.encode()
        return bytearray(message.data[_HEADER_BYTES:])

    def _send(self, what: int, flags: int, kind: str, request: bytearray) -> None:
        try:
            self._netlink.request(what, flags, bytes(request))
        except KernelError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise LinkError(f"{self.interface}: {NEEDS}") from error
            if error.errno == errno.ENOENT and flags == ADD:
                module = f"{'cls' if what == NEW_FILTER else 'sch'}_{kind}"
                raise LinkError(
                    f"{self.interface}: this kernel has no {kind} (module {module}): {error}; install its modules, or "
                    "use `shaping: user`"
                ) from error
            raise LinkError(f"{self.interface}: the kernel refuses {kind}: {error}") from error


def _tbf(number: int) -> int:
    return HANDLE + (2 * number - 1) * 0x10000
