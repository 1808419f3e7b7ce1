"""A worker as its orchestrator knows it: one conversation on the control plane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from testbed.deploy.deployer import WorkerProcess, log_tail
from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.clock import Exchange
from testbed.link.messages import Body, Message
from testbed.orchestrator.participants import Participant

TICK_S = 0.1
CLOCK_EXCHANGES = 32


class Worker:
    """One worker as its orchestrator knows it: its process, its last sign of life, its pending answers."""

    def __init__(
        self, send: Callable[[int, Body], None], node: Participant, process: WorkerProcess, silence_s: float
    ) -> None:
        self._send, self.node, self.process = send, node, process
        self._name = f"{node.role} {node.id}"
        self._silence_s = silence_s
        self._pending: dict[int, asyncio.Future[Body]] = {}
        self._hello: asyncio.Future[messages.Hello] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.ensure_future(process.wait())
        self._last_word = time.monotonic()
        self._seq = 0
        self._fault: str | None = None
        self.on_progress: Callable[[int, int], None] = lambda done, total: None

    def heard(self, message: Message) -> None:
        """Take in a message from this worker."""
        self._last_word = time.monotonic()
        body = message.body
        if isinstance(body, messages.Hello) and not self._hello.done():
            self._hello.set_result(body)
        elif isinstance(body, messages.Progress):
            self.on_progress(body.done, body.total)
        elif isinstance(body, messages.Fault) and message.seq == 0:  # told unasked, such as by a cloud that serves
            self._fault = body.message
        elif message.seq in self._pending and not self._pending[message.seq].done():
            self._pending[message.seq].set_result(body)

    def fail(self, why: str) -> None:
        """Nothing more will be heard of this worker: whatever waits for it fails."""
        self._fault = self._fault or why

    async def hello(self, deadline_s: float) -> messages.Hello:
        """The worker's first message.

        Raises:
            WorkerError: it ended, or said nothing before the deadline.
        """
        hello: messages.Hello = await self._watch(self._hello, "starting", deadline_s, silence=False)
        return hello

    async def ask(self, body: Body, doing: str, deadline_s: float | None = None, *, aside: bool = False) -> Any:
        """Send an order and wait for its answer; `aside` while another order is being waited for.

        Raises:
            WorkerError: the worker answered with a fault, ended, fell silent, or missed the deadline.
        """
        self._seq += 1
        seq = self._seq
        self._pending[seq] = asyncio.get_running_loop().create_future()
        try:
            self._send(seq, body)
            answer = await self._watch(self._pending[seq], doing, deadline_s, silence=True, aside=aside)
        finally:
            del self._pending[seq]
        if isinstance(answer, messages.Fault):
            raise WorkerError(f"{self._name}, {doing}: {answer.message}")
        return answer

    async def watch(self, doing: str) -> None:
        """Watch over the worker until cancelled.

        Raises:
            WorkerError: it ended, fell silent, or told of a fault.
        """
        await self._watch(asyncio.get_running_loop().create_future(), doing, None, silence=True)

    def tell(self, body: Body) -> None:
        """Send an order that has no answer."""
        self._send(0, body)

    async def exchange_clocks(self, count: int = CLOCK_EXCHANGES, *, aside: bool = False) -> tuple[list[Exchange], int]:
        """Four-timestamp exchanges between this process's monotonic clock and the worker's.

        Returns them, and the worker's wall clock less its monotonic one, ns.
        """
        exchanges, wall_offset_ns = [], 0
        for _ in range(count):
            ping = messages.ClockPing(t1_ns=time.monotonic_ns())
            pong = await self.ask(ping, "syncing clocks", self._silence_s, aside=aside)
            exchanges.append(Exchange(pong.t1_ns, pong.t2_ns, pong.t3_ns, time.monotonic_ns()))
            wall_offset_ns = pong.wall_offset_ns
        return exchanges, wall_offset_ns

    async def dismiss(self, grace_s: float) -> None:
        """Say goodbye and see the process end."""
        if not self._ended.done():
            self.tell(messages.Bye())
        await asyncio.wait({self._ended}, timeout=grace_s)
        await self.process.stop(0.5)
        await asyncio.wait({self._ended})
        self._ended.exception()  # a lost connection has been told of, or nobody was waiting

    async def _watch(
        self, answer: asyncio.Future[Any], doing: str, deadline_s: float | None, *, silence: bool, aside: bool = False
    ) -> Any:
        started = time.monotonic()
        if not aside:  # else whoever waits already would take our question for a sign of life
            self._last_word = started
        who = f"{self._name}, {doing}"
        while True:
            looked = time.monotonic()
            await asyncio.wait({answer, self._ended}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
            if (paused_s := time.monotonic() - looked - TICK_S) > TICK_S:
                # This process stood still (a laptop that slept): what came meanwhile has yet to be heard.
                self._last_word += paused_s
                started += paused_s
            if answer.done():
                return answer.result()
            if self._fault is not None:
                raise WorkerError(f"{who}: {self._fault}; {log_tail(self.process.log)}")
            if self._ended.done():
                if (lost := self._ended.exception()) is not None:
                    raise WorkerError(f"{who}: {lost}")
                code = self._ended.result()
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                raise WorkerError(f"{who}: the worker {how}; {log_tail(self.process.log)}")
            now = time.monotonic()
            if silence and now - self._last_word > self._silence_s:
                raise WorkerError(f"{who}: silent for {now - self._last_word:.1f} s (limit {self._silence_s:g} s)")
            if deadline_s is not None and now - started > deadline_s:
                raise WorkerError(f"{who}: no answer within {deadline_s:g} s; {log_tail(self.process.log)}")
