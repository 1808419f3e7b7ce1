"""A node's part in its cell's link: whether its kernel can shape what it sends, and what shapes here."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

from devices.machine import Machine
from testbed.errors import TestbedError, WorkerError
from testbed.link.messages import AskShaping, CanShape, Load
from testbed.link.shaping.available import unable
from testbed.link.shaping.kernel import KernelShaper
from testbed.link.shaping.options import Flow
from testbed.link.shaping.shaper import Disturbance, Shaper, Shaping
from testbed.worker.station import Station

_DISCARD = 9  # nothing is sent there


def can_shape(machine: Machine, order: AskShaping) -> CanShape:
    """Whether this node's kernel could shape what it sends to its peers; nothing is changed."""
    direction = order.link.up if order.role == "edge" else order.link.down
    own: list[str] = []
    peers: list[str] = []
    reasons: list[str] = []
    for name in order.peers:
        try:
            here, there = _ends(name)
        except OSError as error:
            reasons.append(f"no way to {name}: {error.strerror or error}")
            continue
        own.append(here)
        peers.append(there)
        if here == there:
            reasons.append(f"{there} is this machine's own address, and both ends cannot shape one loopback interface")
    if not reasons:
        flows = [Flow(peer, _DISCARD, order.role == "edge", direction) for peer in peers]
        reasons = unable(machine, flows, will_delay=order.will_delay)
    return CanShape(reasons=reasons, address=own[0] if own else None)


class LinkPart:
    """What shapes the link on this node: a process beside it, its kernel, or nothing.

    Attributes:
        shaper: whichever it is; None where this node has no part in shaping.
    """

    def __init__(self, station: Station, load: Load) -> None:
        self._station = station
        self.shaper: Shaper | None = None
        if load.shaping is not None:
            station.event("shaping", kind=load.shaping, because=load.because)

    @property
    def shaping(self) -> Shaping | None:
        """How this node imposes the link; None where it has no part in that."""
        return None if self.shaper is None else self.shaper.shaping

    def shape(self, load: Load, peers: Sequence[str], port: int) -> None:
        """Have the kernel shape what is sent to the peers, from now until the worker ends, however it ends.

        Raises:
            LinkError: the kernel cannot.
            DeviceError: an interface is configured by its owner or used by another run.
        """
        if load.link is None:
            return
        edge = load.role == "edge"
        direction = load.link.up if edge else load.link.down
        owner = f"the link of run {load.run or '?'}, repeat {load.repeat}, as {self._station.node}"
        flows = [Flow(peer, port, edge, direction) for peer in dict.fromkeys(peers)]
        shaper = KernelShaper(self._station.machine, owner, flows)
        self._station.undo_at_the_end(shaper.close)
        self.shaper = shaper

    def begin(self) -> None:
        """Begin the link's time anew.

        Raises:
            LinkError: whoever shapes it is gone.
        """
        shaper = self._present()
        shaper.check()
        shaper.arm()

    def disturb(self, disturbance: Disturbance) -> None:
        """Replace the link's present disturbance.

        Raises:
            LinkError: whoever shapes it is gone.
        """
        self._present().disturb(disturbance)
        self._station.event("link_disturbed", **msgspec.to_builtins(disturbance))

    def end(self) -> TestbedError | None:
        """Shape no more; returns why the link was not shaped to the end, to be raised once all else is closed."""
        shaper, self.shaper = self.shaper, None
        failed: TestbedError | None = None
        for step in () if shaper is None else (shaper.check, shaper.close):
            try:
                step()
            except TestbedError as error:  # noqa: PERF203  (it is closed all the same)
                failed = failed or error
        return failed

    def _present(self) -> Shaper:
        if self.shaper is None:
            raise WorkerError("this worker has no part in shaping the link")
        return self.shaper


def _ends(name: str) -> tuple[str, str]:
    """The IP addresses of this node and of a peer, as the kernel would have them on packets between the two."""
    family, _, _, _, address = socket.getaddrinfo(name, _DISCARD, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0]), str(address[0])
