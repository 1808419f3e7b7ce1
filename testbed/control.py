"""The orchestrator's end of the control plane: one ROUTER, and a conversation with each worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from testbed.deploy.deployer import WorkerProcess, log_tail
from testbed.errors import LinkError, WorkerError
from testbed.link import messages
from testbed.link.clock import Exchange
from testbed.link.doors import Doorkeeper
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import Body, Message
from testbed.record.documents import Role

TICK_S = 0.1
HEARTBEAT_S = 0.5
CLOCK_EXCHANGES = 32
OUTBOX = "inproc://outbox"


class Worker:
    """One worker as its orchestrator knows it: its process, its last sign of life, its pending answers."""

    def __init__(self, hub: ControlHub, role: Role, node: str, process: WorkerProcess, silence_s: float) -> None:
        self._hub, self.role, self.node, self.process = hub, role, node, process
        self._silence_s = silence_s
        self._pending: dict[int, asyncio.Future[Body]] = {}
        self._hello: asyncio.Future[messages.Hello] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.ensure_future(process.wait())
        self._last_word = time.monotonic()
        self._seq = 0
        self.on_progress: Callable[[int, int], None] = lambda done, total: None

    def heard(self, message: Message) -> None:
        """Take in a message from this worker."""
        self._last_word = time.monotonic()
        body = message.body
        if isinstance(body, messages.Hello) and not self._hello.done():
            self._hello.set_result(body)
        elif isinstance(body, messages.Progress):
            self.on_progress(body.done, body.total)
        elif message.seq in self._pending and not self._pending[message.seq].done():
            self._pending[message.seq].set_result(body)

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
            self._hub.send(self.role, seq, body)
            answer = await self._watch(self._pending[seq], doing, deadline_s, silence=True, aside=aside)
        finally:
            del self._pending[seq]
        if isinstance(answer, messages.Fault):
            raise WorkerError(f"{self.role} {self.node}, {doing}: {answer.message}")
        return answer

    async def watch(self, doing: str) -> None:
        """Watch over the worker until cancelled.

        Raises:
            WorkerError: it ended or fell silent.
        """
        await self._watch(asyncio.get_running_loop().create_future(), doing, None, silence=True)

    def tell(self, body: Body) -> None:
        """Send an order that has no answer."""
        self._hub.send(self.role, 0, body)

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
        who = f"{self.role} {self.node}, {doing}"
        while True:
            looked = time.monotonic()
            await asyncio.wait({answer, self._ended}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
            if (paused_s := time.monotonic() - looked - TICK_S) > TICK_S:
                # This process stood still (a laptop that slept): what came meanwhile has yet to be heard.
                self._last_word += paused_s
                started += paused_s
            if answer.done():
                return answer.result()
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


class ControlHub:
    """The ROUTER that workers connect to. Only the keys handed to them are admitted.

    A thread owns the socket and hands what it hears to the event loop.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.keys = new_keypair()
        self.client_keys: dict[Role, KeyPair] = {"edge": new_keypair(), "cloud": new_keypair()}
        self.workers: dict[str, Worker] = {}
        self.endpoint = ""
        self._context = zmq.Context()
        self._outbox = self._context.socket(zmq.PUSH)
        self._outbox.bind(OUTBOX)
        self._router = self._context.socket(zmq.ROUTER)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    async def __aenter__(self) -> ControlHub:
        router = self._router
        router.setsockopt(zmq.LINGER, 1000)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.MAXMSGSIZE, messages.MAX_CONTROL_BYTES)
        router.curve_server = True
        router.curve_publickey = self.keys.public.encode()
        router.curve_secretkey = self.keys.secret.encode()
        allowed = frozenset(keys.public for keys in self.client_keys.values())
        # Whoever else knocks on this loopback port is turned away; nothing of the measurement depends on it.
        self._door = Doorkeeper(self._context, router, allowed, lambda event, detail: None)
        self.endpoint = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._outbox.send(b"")
        await asyncio.to_thread(self._thread.join)
        self._outbox.close(linger=0)
        self._door.join()
        self._context.term()

    def send(self, role: Role, seq: int, body: Body) -> None:
        """Send one message. A worker that is gone does not get it, which its watcher notices."""
        data = messages.encode(Message(run=self.run, seq=seq, body=body))
        self._outbox.send_multipart([role.encode(), data])

    def _serve(self) -> None:
        outgoing = self._context.socket(zmq.PULL)
        outgoing.connect(OUTBOX)
        poller = zmq.Poller()
        poller.register(outgoing, zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        beat = 0.0
        while True:
            ready = dict(poller.poll(round(HEARTBEAT_S * 1000)))
            if time.monotonic() - beat >= HEARTBEAT_S:
                beat = time.monotonic()
                self._beat()
            if outgoing in ready:
                parts = outgoing.recv_multipart()
                if len(parts) == 1:
                    break
                with contextlib.suppress(zmq.ZMQError):
                    self._router.send_multipart(parts)
            if self._router in ready:
                identity, *parts = self._router.recv_multipart()
                self._loop.call_soon_threadsafe(self._heard, identity, parts)
        outgoing.close(linger=0)
        self._router.close()

    def _beat(self) -> None:
        """Tell the workers that they are not alone; from this thread, so that a busy event loop silences nobody."""
        body = messages.Heartbeat(t_ns=time.monotonic_ns())
        for role in list(self.workers):
            data = messages.encode(Message(run=self.run, seq=0, body=body))
            with contextlib.suppress(zmq.ZMQError):  # it has not connected yet, is gone, or does not read
                self._router.send_multipart([role.encode(), data], zmq.NOBLOCK)

    def _heard(self, identity: bytes, parts: list[bytes]) -> None:
        worker = self.workers.get(identity.decode(errors="replace"))
        if worker is not None and len(parts) == 1:
            with contextlib.suppress(LinkError):  # not of this run or version: its watcher will miss the answer
                worker.heard(messages.decode(parts[0], self.run))
