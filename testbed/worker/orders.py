"""What a worker's orders make: its work is loaded, asked and finished, and each order has an answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from devices.machine import Machine
from testbed.errors import TestbedError
from testbed.link import messages
from testbed.link.messages import Body
from testbed.worker.cloud import CloudWork
from testbed.worker.edge import EdgeWork
from testbed.worker.linkpart import can_shape

Work: TypeAlias = EdgeWork | CloudWork
Say: TypeAlias = Callable[[Body], None]
"""Tells the orchestrator something beside an answer."""


class Orders:
    """The work of one worker, in the role that its orders give it.

    Attributes:
        cancel: set to end what is carried out after the running request.
        working: held while an order is carried out.
    """

    def __init__(self, node: str, root: Path, on_fault: Callable[[str], None]) -> None:
        self._node, self._root, self._on_fault = node, root, on_fault
        self.cancel = threading.Event()
        self.working = threading.Lock()
        self._present: Work | None = None
        """What is loaded and not finished."""

    def carry_out(self, order: Body, say: Say) -> Body:
        """One order after the other, by one thread.

        Raises:
            TestbedError: it could not be done.
        """
        with self.working:
            if isinstance(order, messages.AskShaping):
                return can_shape(Machine(self._root), order)
            if isinstance(order, messages.Load):
                self._present = self._load(order)
                return self._present.loaded
            if self._present is None:
                return messages.Fault(message="nothing is loaded", kind="WorkerError")
            if isinstance(order, messages.Finish):
                work, self._present = self._present, None  # what is finished here is not finished again at goodbye
                return messages.Finished(detail=work.finish())
            return _asked(self._present, order, say)

    def aside(self, order: Body, _say: Say) -> Body:
        """What is done to the link, by a thread of its own: an edge's requests go on meanwhile."""
        work = self._present
        if work is None:
            return messages.Fault(message="nothing is loaded", kind="WorkerError")
        if isinstance(order, messages.Disturb):
            work.link.disturb(order.disturbance)
        else:
            work.link.begin()
        return messages.Done()

    def end(self) -> None:
        """Finish what nobody will ask to finish."""
        if self._present is not None:
            with contextlib.suppress(TestbedError):
                self._present.finish()

    def _load(self, order: messages.Load) -> Work:
        if order.role == "edge":
            return EdgeWork(order, self._node, self.cancel)
        return CloudWork(order, self._node, self.cancel, self._on_fault)


def _asked(work: Work, order: Body, say: Say) -> Body:
    if isinstance(order, messages.Idle):
        work.idle(order.seconds, order.phase)
        return messages.Done()
    if isinstance(order, messages.CoolDown):
        return messages.CooledDown(detail=work.cool_down(order))
    if isinstance(order, messages.ComputeAhead):
        work.compute_ahead(order)
        return messages.Done()
    if isinstance(work, EdgeWork) and isinstance(order, messages.CheckPath):
        return messages.PathChecked(detail=work.check_path(order.when))
    if isinstance(work, EdgeWork) and isinstance(order, messages.Follow):
        work.follow(order)
        return messages.Done()
    if isinstance(work, EdgeWork) and isinstance(order, messages.WarmUp):
        work.warm_up(order.samples)
        return messages.Done()
    if isinstance(work, EdgeWork) and isinstance(order, messages.Measure):
        total = len(order.samples)
        return messages.Measured(
            detail=work.measure(order, lambda done: say(messages.Progress(done=done, total=total)))
        )
    return messages.Fault(message=f"this worker cannot {type(order).__name__}", kind="LinkError")
