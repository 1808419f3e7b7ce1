"""A link's conditions imposed by the kernel (tc) on what a node sends; each node shapes its own egress."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from devices.base.errors import DeviceError
from devices.board import boot_id
from devices.journal import Journal
from devices.machine import Machine
from devices.netlink import Netlink, mtu_of
from devices.settings import qdisc
from devices.settings.applied import state_folder, undos
from testbed.errors import LinkError
from testbed.link.shaping.buckets import Piece, pieces
from testbed.link.shaping.options import Flow
from testbed.link.shaping.queues import Queues
from testbed.link.shaping.shaper import Disturbance, Shaping

_LONGEST_WAIT_MS = 60_000.0


class _Shaped:
    """One flow: where its queue is, and which piece of its trace is in force."""

    def __init__(self, queues: Queues, number: int, flow: Flow) -> None:
        self.queues, self.number, self.flow = queues, number, flow
        self.period_ms = flow.direction.capacity.ms[-1] if flow.direction.capacity else 1
        self.plan: list[Piece] = []
        self.replan(1.0)
        self.piece = 0

    def replan(self, factor: float) -> None:
        """Spread the trace anew, at a multiple of its rate."""
        self.plan = pieces(self.flow.direction.capacity, self.queues.mtu, factor)
        self._starts = [piece.start_ms for piece in self.plan]

    def at(self, ms: float) -> tuple[int, float]:
        """The piece in force so long after the beginning, and in how many ms the next one is."""
        passed = ms % self.period_ms
        piece = bisect.bisect_right(self._starts, passed) - 1
        end = self._starts[piece + 1] if piece + 1 < len(self._starts) else self.period_ms
        return piece, end - passed


class KernelShaper:
    """Shapes flows of the data plane that leave this node, until it is closed.

    Only TCP from or to a flow's port, to its peer, is shaped; everything else on the interface passes as ever. What
    is changed is noted in the undo journal first. A process that is killed leaves it to the next `put_back`, and a
    reboot leaves nothing.

    A trace is followed in steps (`testbed.link.shaping.buckets.pieces`). Its time begins with `arm()`, on each node by
    itself. Jitter and losses are drawn by the kernel and not from the link's seed.

    Args:
        machine: this one.
        owner: whose shaping it is, for the journal and for whoever else wants the interface.
        flows: what is shaped.

    Raises:
        LinkError: the kernel lacks a module, this process lacks a right, or pyroute2 is not there.
        DeviceError: an interface is configured by its owner or used by another run.
    """

    shaping: Shaping = "tc"
    endpoint: str | None = None

    def __init__(self, machine: Machine, owner: str, flows: Sequence[Flow]) -> None:
        self._journal = Journal(state_folder(machine.root), owner, boot_id(machine), undos(machine))
        self._netlink = Netlink()
        self._changed = threading.Condition()
        self._closed = False
        self._closing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failed: LinkError | DeviceError | None = None
        self._disturbance = Disturbance()
        self._queues: dict[str, Queues] = {}
        self._shaped: list[_Shaped] = []
        try:
            for number, flow in enumerate(flows, 1):
                self._shape(number, flow)
        except BaseException:
            self.close()
            raise
        self._began = time.monotonic()
        if any(len(each.plan) > 1 for each in self._shaped):
            self._thread = threading.Thread(target=self._replay, name="kernel shaper", daemon=True)
            self._thread.start()

    @property
    def interfaces(self) -> list[str]:
        """Those that packets to the peers leave on."""
        return list(self._queues)

    def arm(self) -> None:
        """Begin the link's time anew, now.

        Raises:
            LinkError: the kernel refuses.
        """
        with self._changed:
            self._refuse_closed()
            self._began = time.monotonic()
            self._impose()
            self._changed.notify()

    def disturb(self, disturbance: Disturbance) -> None:
        """Replace the present disturbance, now; packets that wait already keep their delay.

        While the link is down what waits in the queue stays there, and what is sent besides is lost, for TCP to send
        again.

        Raises:
            LinkError: the kernel refuses, such as a delay where it has no netem.
        """
        with self._changed:
            self._refuse_closed()
            before, self._disturbance = self._disturbance, disturbance
            for each in self._shaped:
                if disturbance.rate != before.rate:
                    each.replan(disturbance.rate)
                if disturbance.delay_ms != before.delay_ms:
                    each.queues.set_delay(each.number, each.flow.direction, disturbance.delay_ms)
            self._impose()
            self._changed.notify()

    def check(self) -> None:
        """Make sure that it still shapes.

        Raises:
            LinkError: the kernel refused a change, or somebody removed the queues.
        """
        with self._changed:
            self._refuse_closed()
            if self._failed is not None:
                raise LinkError(f"shaping by the kernel ended: {self._failed}") from self._failed
            for interface in self._queues:
                try:
                    root = next(iter(self._netlink.queues(interface)), None)
                except DeviceError as error:
                    raise LinkError(f"{interface} is no longer shaped: {error}") from error
                if root is None or root.handle != qdisc.HANDLE:
                    there = "nothing" if root is None else qdisc.name(root)
                    raise LinkError(f"{interface} is no longer shaped: somebody put {there} there")

    def close(self) -> None:
        """Give the interfaces back as they were; more than once does no harm, also from several threads.

        Raises:
            DeviceError: one stays changed; it is in the journal.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        with self._closing:
            if self._thread is not None:
                self._thread.join()
            for queues in self._queues.values():
                queues.close()
            self._netlink.close()
            self._journal.restore()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LinkError("shaping by the kernel has ended")

    def _shape(self, number: int, flow: Flow) -> None:
        interface = self._netlink.interface_towards(flow.peer)
        if interface not in self._queues:
            queues = Queues(self._netlink, interface, mtu_of(interface), flow.peer)
            self._queues[interface] = queues
            why = f"shaped towards {flow.peer}, port {flow.port}"
            qdisc.take_over(self._netlink, interface, why, self._record)
            queues.begin()
        shaped = _Shaped(self._queues[interface], number, flow)
        shaped.queues.add(number, flow, shaped.plan[0].bucket)
        self._shaped.append(shaped)

    def _impose(self, *, anew: bool = True) -> float:
        """Bring each flow to where its trace is; says in how many seconds the next change is."""
        ms, wait_ms = 1000 * (time.monotonic() - self._began), _LONGEST_WAIT_MS
        for each in self._shaped:
            before, (each.piece, left_ms) = each.piece, each.at(ms)
            if self._disturbance.down:
                if anew:
                    each.queues.close_gate(each.number)
            elif anew or each.piece != before:
                each.queues.set_bucket(each.number, each.plan[each.piece].bucket)
            if len(each.plan) > 1:
                wait_ms = min(wait_ms, left_ms)
        return wait_ms / 1000

    def _replay(self) -> None:
        with self._changed:
            while not self._closed:
                try:
                    wait_s = self._impose(anew=False)
                except (LinkError, DeviceError) as error:
                    self._failed = error
                    return
                self._changed.wait(wait_s)

    def _record(self, kind: str, target: str, what: str, before: Mapping[str, Any]) -> None:
        self._journal.record(kind, target, what, dict(before))
