"""The orchestrator's end of the control plane: one ROUTER, and a conversation with each worker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from testbed.deploy.deployer import WorkerProcess, log_tail
from testbed.errors import LinkError, WorkerError
from testbed.link import messages
from testbed.link.clock import Exchange
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import Body, Message, Role

TICK_S = 0.1
CLOCK_EXCHANGES = 32


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
        return await self._watch(self._hello, "starting", deadline_s, silence=False)

    async def ask(self, body: Body, doing: str, deadline_s: float | None = None) -> Any:
        """Send an order and wait for its answer.

        Raises:
            WorkerError: the worker answered with a fault, ended, fell silent, or missed the deadline.
        """
        self._seq += 1
        seq = self._seq
        self._pending[seq] = asyncio.get_running_loop().create_future()
        try:
            await self._hub.send(self.role, seq, body, deadline_s)
            answer = await self._watch(self._pending[seq], doing, deadline_s, silence=True)
        finally:
            del self._pending[seq]
        if isinstance(answer, messages.Fault):
            raise WorkerError(f"{self.role} {self.node}, {doing}: {answer.message}")
        return answer

    async def tell(self, body: Body) -> None:
        """Send an order that has no answer."""
        await self._hub.send(self.role, 0, body, None)

    async def exchange_clocks(self) -> list[Exchange]:
        """Four-timestamp exchanges between this process's monotonic clock and the worker's."""
        exchanges = []
        for _ in range(CLOCK_EXCHANGES):
            pong = await self.ask(messages.ClockPing(t1_ns=time.monotonic_ns()), "syncing clocks", self._silence_s)
            exchanges.append(Exchange(pong.t1_ns, pong.t2_ns, pong.t3_ns, time.monotonic_ns()))
        return exchanges

    async def dismiss(self, grace_s: float) -> None:
        """Say goodbye and see the process end."""
        if not self._ended.done():
            with contextlib.suppress(LinkError):
                await self.tell(messages.Bye())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), grace_s)
        await self.process.stop(0.5)
        await self._ended

    async def _watch(
        self, answer: asyncio.Future[Any], doing: str, deadline_s: float | None, *, silence: bool
    ) -> Any:
        started = self._last_word = time.monotonic()
        who = f"{self.role} {self.node}, {doing}"
        while True:
            await asyncio.wait({answer, self._ended}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if self._ended.done():
                code = self._ended.result()
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                raise WorkerError(f"{who}: the worker {how}; {log_tail(self.process.log)}")
            now = time.monotonic()
            if silence and now - self._last_word > self._silence_s:
                raise WorkerError(f"{who}: silent for {now - self._last_word:.1f} s (limit {self._silence_s:g} s)")
            if deadline_s is not None and now - started > deadline_s:
                raise WorkerError(f"{who}: no answer within {deadline_s:g} s; {log_tail(self.process.log)}")


class ControlHub:
    """The ROUTER that workers connect to. Only the keys handed to them are admitted."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.keys = new_keypair()
        self.client_keys: dict[Role, KeyPair] = {"edge": new_keypair(), "cloud": new_keypair()}
        self.workers: dict[str, Worker] = {}
        self._context = zmq.asyncio.Context()
        self._auth = AsyncioAuthenticator(self._context)
        self._socket: zmq.asyncio.Socket | None = None
        self._pump: asyncio.Task[None] | None = None
        self.endpoint = ""

    async def __aenter__(self) -> ControlHub:
        self._auth.start()
        allowed = {keys.public.encode() for keys in self.client_keys.values()}
        self._auth.configure_curve_callback(domain="*", credentials_provider=_Allowed(allowed))
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, messages.MAX_CONTROL_BYTES)
        socket.curve_server = True
        socket.curve_publickey = self.keys.public.encode()
        socket.curve_secretkey = self.keys.secret.encode()
        self.endpoint = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._socket = socket
        self._pump = asyncio.create_task(self._receive(socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        if self._socket is not None:
            self._socket.close(linger=0)
        self._auth.stop()
        self._context.term()

    async def send(self, role: Role, seq: int, body: Body, deadline_s: float | None) -> None:
        """Send one message.

        Raises:
            LinkError: that worker is not connected.
        """
        assert self._socket is not None  # noqa: S101  (entered)
        data = messages.encode(Message(run=self.run, seq=seq, deadline_s=deadline_s, body=body))
        try:
            await self._socket.send_multipart([role.encode(), data])
        except zmq.ZMQError as error:
            raise LinkError(f"{role}: not connected to the control plane ({error.strerror})") from error

    async def _receive(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            identity, data = await socket.recv_multipart()
            with contextlib.suppress(LinkError):  # not from a worker of this run: nobody waits for it
                worker = self.workers.get(identity.decode(errors="replace"))
                message = messages.decode(data, self.run)
                if worker is not None:
                    worker.heard(message)


class _Allowed:
    def __init__(self, keys: set[bytes]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a client with this public key (Z85) may connect."""
        return key in self._keys
