"""The faults of a cell, played while its requests run: each at its time, undone after its time, and on record."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from testbed.errors import WorkerError
from testbed.link.shaping.shaper import Disturbance
from testbed.record.faults import LINK_FAULTS, FaultDocument, FaultRecord
from testbed.record.noderecord import Role

LOOK_S = 0.02


class Hands(Protocol):
    """What playing faults takes."""

    async def disturb(self, disturbance: Disturbance) -> None:
        """Replace the link's present disturbance."""

    def one_of(self, role: Role) -> str:
        """The participant that a role's fault happens to."""

    async def signal(self, node: str, number: signal.Signals) -> None:
        """Send its worker's process a signal."""

    async def begin_again(self, node: str) -> None:
        """Start a worker in the place of a killed one, and load it.

        Raises:
            TestbedError: it does not get so far.
        """


class Faults:
    """Plays the faults of one repeat.

    Args:
        asked: the faults.
        hands: what carries them out.
        answered: how many requests every edge has answered.
    """

    def __init__(self, asked: Sequence[FaultDocument], hands: Hands, answered: Callable[[], int]) -> None:
        self._asked, self._hands, self._answered = asked, hands, answered
        self._disturbing: list[FaultDocument] = []
        self._under: dict[str, asyncio.Event] = {}
        self._playing: list[asyncio.Task[None]] = []
        self._started = 0.0
        self.records: list[FaultRecord] = []

    def begin(self) -> None:
        """The requests begin now."""
        self._started = time.monotonic()
        self._playing = [asyncio.ensure_future(self._play(fault)) for fault in self._asked]

    async def over(self, node: str) -> None:
        """Wait until what is done to a participant is undone.

        Raises:
            WorkerError: nothing is being done to it.
            TestbedError: it could not be undone.
        """
        if node not in self._under:
            raise WorkerError(f"{node}: no fault is being played on it")
        await self._under[node].wait()
        for task in self._playing:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def on(self, node: str) -> bool:
        """Whether a fault is being played on a participant's worker."""
        return node in self._under

    async def end(self) -> None:
        """The requests are over: faults that have begun are undone in their time, the others do not happen.

        Raises:
            TestbedError: one could not be carried out or undone.
        """
        begun = [task for task in self._playing if task.get_name() == "begun"]
        self.drop(begun)
        for task in begun:
            await task

    def drop(self, but: Sequence[asyncio.Task[None]] = ()) -> None:
        """Play nothing more."""
        for task in self._playing:
            if task not in but:
                task.cancel()

    async def _play(self, fault: FaultDocument) -> None:
        await self._until(fault)
        asyncio.current_task().set_name("begun")  # type: ignore[union-attr]
        from_ns, until_ns = time.monotonic_ns(), None
        try:
            if fault.fault in LINK_FAULTS:
                await self._disturb(fault)
            else:
                await self._strike(fault)
            until_ns = time.monotonic_ns()
        finally:
            self.records.append(FaultRecord(fault=fault.fault, from_ns=from_ns, until_ns=until_ns))

    async def _until(self, fault: FaultDocument) -> None:
        if fault.at_s is not None:
            await asyncio.sleep(max(0.0, self._started + fault.at_s - time.monotonic()))
        while fault.at_request is not None and self._answered() < fault.at_request:
            await asyncio.sleep(LOOK_S)

    async def _disturb(self, fault: FaultDocument) -> None:
        self._disturbing.append(fault)
        await self._hands.disturb(together(self._disturbing))
        await asyncio.sleep(fault.for_s)
        self._disturbing.remove(fault)
        await self._hands.disturb(together(self._disturbing))

    async def _strike(self, fault: FaultDocument) -> None:
        role: Role = "edge" if fault.fault == "edge_killed" else "cloud"
        node = self._hands.one_of(role)
        if node in self._under:
            raise WorkerError(f"{node}: two faults at once; let one be over before the next begins")
        self._under[node] = asyncio.Event()
        stopped = fault.fault == "cloud_stopped"
        try:
            await self._hands.signal(node, signal.SIGSTOP if stopped else signal.SIGKILL)
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                if stopped:
                    await self._hands.signal(node, signal.SIGCONT)
            if not stopped:
                await self._hands.begin_again(node)
        finally:
            self._under.pop(node).set()


def together(faults: Sequence[FaultDocument]) -> Disturbance:
    """What several faults do to a link at once: rates multiply, delays add up."""
    rate, delay_ms = 1.0, 0.0
    for fault in faults:
        rate *= 1.0 if fault.factor is None else fault.factor
        delay_ms += fault.add_ms or 0.0
    return Disturbance(down=any(fault.fault == "link_down" for fault in faults), rate=rate, delay_ms=delay_ms)
