"""Tries the kernel's queues where nothing can come to harm; `python -m testbed.link.shaping.trial [netem]`.

A process of its own, since it leaves for a new network namespace, whose loopback interface is nobody's. What goes wrong
is printed, as one line. The exit code is 0 where all went well, 1 where the kernel refuses, 2 where there is no
namespace to try it in.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys

from devices.base.errors import TestbedError
from devices.links.conditions import Direction
from devices.netlink import Netlink, mtu_of
from testbed.link.shaping.buckets import bucket
from testbed.link.shaping.options import Flow
from testbed.link.shaping.queues import Queues

NO_NAMESPACE = 2
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP
_RATE = 125_000
_ANY_PORT = 1024


def main() -> int:
    """Build the queues once."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Without the right to make a network namespace one may still have it in a user namespace of one's own.
    if libc.unshare(_NEW_NETWORK) and libc.unshare(_NEW_USER | _NEW_NETWORK):
        print(f"no network namespace to try it in: {os.strerror(ctypes.get_errno())}")
        return NO_NAMESPACE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))
    direction = Direction(delay_ms=1.0 if "netem" in sys.argv[1:] else 0.0)
    try:
        with Netlink() as netlink:
            queues = Queues(netlink, "lo", mtu_of("lo"), "127.0.0.1")
            queues.begin()
            queues.add(1, Flow("127.0.0.1", _ANY_PORT, True, direction), bucket(_RATE, mtu_of("lo")))
            queues.close()
    except TestbedError as error:
        print(str(error).removeprefix("lo: "))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
