"""Whether this node's kernel can shape what it sends, found out without changing anything here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

from devices.base.errors import TestbedError
from devices.machine import Machine
from devices.netlink import Netlink
from devices.settings.qdisc import refuse_configured
from testbed.link.shaping.options import Flow, needs_netem, new_message
from testbed.link.shaping.queues import NEEDS
from testbed.link.shaping.trial import NO_NAMESPACE

MODULES = ("sch_htb", "cls_u32", "sch_tbf")
"""What shaping by the kernel needs of it; `sch_netem` too for delay, jitter or loss."""

_NET_ADMIN = 12  # CAP_NET_ADMIN
_TRIAL_S = 60.0


def unable(machine: Machine, flows: Sequence[Flow], *, will_delay: bool = False) -> list[str]:
    """Why these flows cannot be shaped by the kernel of this machine, each reason a line; empty: they can.

    Args:
        machine: this one.
        flows: what would be shaped.
        will_delay: whether a disturbance is going to add delay to flows that have none.
    """
    reasons = []
    netem = will_delay or any(needs_netem(flow.direction) for flow in flows)
    if not has_net_admin(machine):
        reasons.append(NEEDS)
    with Netlink() as netlink:
        for peer in dict.fromkeys(flow.peer for flow in flows):
            try:
                refuse_configured(netlink, netlink.interface_towards(peer))
            except TestbedError as error:  # noqa: PERF203  (each peer has its reason)
                reasons.append(str(error))
    try:
        new_message()
    except TestbedError as error:
        return [*reasons, str(error)]
    return [*dict.fromkeys(reasons), *_refused_by_kernel(machine, netem)]


def has_net_admin(machine: Machine) -> bool:
    """Whether this process may change queues: it is root, or its file has the capability."""
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", machine.text("proc/self/status") or "", re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> _NET_ADMIN & 1)


def _refused_by_kernel(machine: Machine, netem: bool) -> list[str]:
    command = [sys.executable, "-m", "testbed.link.shaping.trial", *(["netem"] if netem else [])]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"the kernel's queues could not be tried out within {_TRIAL_S:g} s"]
    if tried.returncode == 0:
        return []
    said = (tried.stdout.strip() or tried.stderr.strip() or f"exit code {tried.returncode}").splitlines()[-1]
    if tried.returncode != NO_NAMESPACE:
        return [said]
    return [
        f"this kernel has no module {module} (`modprobe -n {module}` finds none); {said}"
        for module in (*MODULES, *(["sch_netem"] if netem else []))
        if machine.command("modprobe") is None or machine.run("modprobe", "-n", "-q", module).code != 0
    ]
