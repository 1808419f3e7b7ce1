"""An interface's queues, taken over for a link that the kernel shapes, and given back to the kernel's default."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from devices.base.errors import DeviceError
from devices.machine import Machine, NeedsRootError
from devices.netlink import ROOT, KernelError, Netlink, Queue
from devices.settings.setting import Record

KIND = "qdisc"
SURVIVES_REBOOT = False

HANDLE = 0x7E570000
"""Of the root that this testbed puts there, `7e57:` in the words of `tc`; by it what is ours is told from others'."""


def refuse_configured(netlink: Netlink, interface: str) -> Queue:
    """The root of an interface whose queues are all the kernel's own default, so that they can be made anew.

    Raises:
        DeviceError: somebody configured them.
    """
    queues = netlink.queues(interface)
    for queue in queues:
        # What the kernel attaches by itself has no handle; whatever a user adds is given one.
        if queue.handle != 0:
            ours = queue.kind == "htb" and queue.handle == HANDLE
            whose = "of another run, or left by one whose journal is not here" if ours else "configured by its owner"
            raise DeviceError(
                f"{interface} has {name(queue)}, {whose}, and only the kernel's default queues are taken over; "
                f"look with `tc qdisc show dev {interface}`, remove it with `tc qdisc del dev {interface} root`, or "
                "use `shaping: user`"
            )
    if not queues or queues[0].parent != ROOT:
        raise DeviceError(f"{interface} has no queue; is it up?")
    return queues[0]


def take_over(netlink: Netlink, interface: str, why: str, record: Record) -> None:
    """Note that an interface's default queues are about to be replaced by a root with handle `HANDLE`.

    Raises:
        DeviceError: they are not the default, or the change cannot be noted.
    """
    root = refuse_configured(netlink, interface)
    what = f"queue of {interface} {root.kind} → {why} (htb {HANDLE >> 16:x}:)"
    record(KIND, interface, what, {"interface": interface, "kind": root.kind})


def undo(machine: Machine, before: Mapping[str, Any]) -> None:
    """Delete the root, if it is still this testbed's; the kernel puts its default there again."""
    interface, kind = str(before["interface"]), str(before["kind"])
    with Netlink() as netlink:
        try:
            queues = netlink.queues(interface)
            if not queues or queues[0].handle != HANDLE:
                return
            netlink.delete_root(interface)
            now = netlink.queues(interface)
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return  # an interface takes its queues with it
            if error.errno in (errno.EPERM, errno.EACCES):
                by_hand = f"`sudo tc qdisc del dev {interface} root`"
                raise NeedsRootError(f"needs root or the capability CAP_NET_ADMIN; by hand: {by_hand}") from error
            raise DeviceError(f"the queue of {interface} cannot be removed: {error}") from error
    if not now or (now[0].kind, now[0].handle) != (kind, 0):
        raise DeviceError(f"{interface} has {name(now[0]) if now else 'no queue'}, had the default {kind}")


def name(queue: Queue) -> str:
    """A queue as `tc` names it, such as `qdisc htb 1:`."""
    return f"qdisc {queue.kind} {queue.handle >> 16:x}:"
