"""The orchestrator's end of the control plane: one ROUTER that every worker connects to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable
from functools import partial

import zmq

from testbed.deploy.deployer import WorkerProcess
from testbed.errors import LinkError
from testbed.link import messages
from testbed.link.doors import Doorkeeper
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import Body, Message
from testbed.orchestrator.participants import Participant
from testbed.orchestrator.worker import Worker

HEARTBEAT_S = 0.5
OUTBOX = "inproc://outbox"


class ControlHub:
    """The ROUTER that workers connect to, each as the participant that it is. Only the keys made for them are admitted.

    A thread owns the socket and hands what it hears to the event loop.

    Raises:
        LinkError: this machine makes no keys, or no socket to listen on.
    """

    def __init__(self, run: str, ids: Iterable[str]) -> None:
        self.run = run
        self.keys = new_keypair()
        self.client_keys: dict[str, KeyPair] = {name: new_keypair() for name in ids}
        self.workers: dict[str, Worker] = {}
        self.endpoint = ""
        self._context = zmq.Context()
        self._outbox = self._context.socket(zmq.PUSH)
        self._outbox.bind(OUTBOX)
        self._outgoing = self._context.socket(zmq.PULL)
        self._outgoing.connect(OUTBOX)
        self._router = self._context.socket(zmq.ROUTER)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    async def __aenter__(self) -> ControlHub:
        try:
            self._listen()
        except zmq.ZMQError as error:
            for socket in (self._router, self._outbox, self._outgoing):
                socket.close(linger=0)
            self._door.join()
            self._context.term()
            raise LinkError(f"the control plane cannot listen on this machine's 127.0.0.1: {error}") from error
        self._thread.start()
        return self

    def _listen(self) -> None:
        router = self._router
        router.setsockopt(zmq.LINGER, 1000)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.MAXMSGSIZE, messages.MAX_SEALED_BYTES)
        router.curve_server = True
        router.curve_publickey = self.keys.public.encode()
        router.curve_secretkey = self.keys.secret.encode()
        allowed = frozenset(keys.public for keys in self.client_keys.values())
        # Whoever else knocks on this loopback port is turned away; nothing of the measurement depends on it.
        self._door = Doorkeeper(self._context, router, allowed, lambda event, detail: None)
        router.bind("tcp://127.0.0.1:*")
        self.endpoint = router.get_string(zmq.LAST_ENDPOINT)

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(zmq.Again):  # the thread has ended by itself
            self._outbox.send(b"", zmq.NOBLOCK)
        await asyncio.to_thread(self._thread.join)
        self._outbox.close(linger=0)
        self._door.join()
        self._context.term()

    def worker(self, node: Participant, process: WorkerProcess, silence_s: float) -> Worker:
        """The conversation with a worker that has been started."""
        worker = self.workers[node.id] = Worker(partial(self.send, node.id), node, process, silence_s)
        return worker

    def send(self, to: str, seq: int, body: Body) -> None:
        """Send one message. A worker that is gone does not get it, which its watcher notices."""
        data = messages.encode(Message(run=self.run, seq=seq, body=body))
        with contextlib.suppress(zmq.Again):  # the thread has ended by itself, which the workers are told of
            self._outbox.send_multipart([to.encode(), data], zmq.NOBLOCK)

    def _serve(self) -> None:
        try:
            self._carry()
        except zmq.ZMQError as error:
            self._loop.call_soon_threadsafe(self._failed, f"the control plane failed on this machine: {error}")
        finally:
            self._outgoing.close(linger=0)
            self._router.close()

    def _carry(self) -> None:
        outgoing = self._outgoing
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

    def _failed(self, why: str) -> None:
        for worker in self.workers.values():
            worker.fail(why)

    def _beat(self) -> None:
        """Tell the workers that they are not alone; from this thread, so that a busy event loop silences nobody."""
        body = messages.Heartbeat(t_ns=time.monotonic_ns())
        for name in list(self.workers):
            data = messages.encode(Message(run=self.run, seq=0, body=body))
            with contextlib.suppress(zmq.ZMQError):  # it has not connected yet, is gone, or does not read
                self._router.send_multipart([name.encode(), data], zmq.NOBLOCK)

    def _heard(self, identity: bytes, parts: list[bytes]) -> None:
        worker = self.workers.get(identity.decode(errors="replace"))
        if worker is not None and len(parts) == 1:
            try:
                worker.heard(messages.decode(parts[0], self.run))
            except LinkError as error:  # may be an answer that would be waited for without end
                worker.fail(str(error))
