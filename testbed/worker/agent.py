"""The agent of a worker: takes orders from the orchestrator and keeps in touch while they are carried out.

The main thread owns the control socket; the work (and with it the data plane) has a thread of its own, so
a long measurement never silences the heartbeat and the heartbeat never touches the data socket.
"""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeAlias

import msgspec
import numpy as np
import onnxruntime
import zmq

from devices.board import identify
from testbed.errors import LinkError, TestbedError
from testbed.link import messages
from testbed.link.clock import wall_offset_ns
from testbed.link.keys import require_curve
from testbed.link.messages import Body, Message, WorkerStart
from testbed.record.noderecord import BoardFacts, HelloFacts
from testbed.version import VERSION
from testbed.worker.orders import Orders, Say
from testbed.worker.station import undo_changes

HEARTBEAT_MS = 500
LAST_REQUEST_S = 10.0
"""How long a request that runs when the orchestrator is lost may take to end in its row."""
MAX_START_BYTES = 64 * 1024

Jobs: TypeAlias = "queue.SimpleQueue[Message | None]"
CarryOut: TypeAlias = Callable[[Body, Say], Body]


def read_start(stdin: IO[bytes]) -> WorkerStart:
    """The first line of standard input.

    Raises:
        LinkError: it is not a worker's start.
    """
    # Byte by byte past no newline: what follows on the pipe is its end, which the agent waits for.
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_START_BYTES:
        piece = os.read(stdin.fileno(), 4096)
        if not piece:
            break
        line += piece
    try:
        return msgspec.json.decode(line, type=WorkerStart)
    except msgspec.MsgspecError as error:
        raise LinkError(f"standard input does not say where the orchestrator is: {error}") from error


def pong(ping: messages.ClockPing, t2_ns: int) -> messages.ClockPong:
    """The answer to a ping that came in at `t2_ns`; the time of the reply is taken last."""
    wall_ns = wall_offset_ns()
    return messages.ClockPong(t1_ns=ping.t1_ns, t2_ns=t2_ns, wall_offset_ns=wall_ns, t3_ns=time.monotonic_ns())


class Agent:
    """One worker process: a control connection, and threads that carry out what comes over it."""

    def __init__(self, run: str, start: WorkerStart) -> None:
        require_curve()
        self.run, self.start = run, start
        self._jobs: Jobs = queue.SimpleQueue()
        self._asides: Jobs = queue.SimpleQueue()
        self._orders = Orders(start.node, Path(start.root), self._report_fault)
        self._context = zmq.Context()
        self._outbox_address = "inproc://outbox"

    def serve(self) -> int:
        """Take orders until goodbye; returns the process's exit code."""
        control = self._connect()
        outbox = self._context.socket(zmq.PULL)
        outbox.bind(self._outbox_address)
        threads = [
            threading.Thread(target=self._work, name="work", daemon=True),
            threading.Thread(target=self._take, args=(self._asides, self._orders.aside), name="aside", daemon=True),
        ]
        for thread in threads:
            thread.start()
        poller = zmq.Poller()
        for source in (control, outbox, sys.stdin.fileno()):
            poller.register(source, zmq.POLLIN)
        self._send(control, 0, self._hello())
        heartbeat_ns = heard_ns = time.monotonic_ns()
        silent, last_ns = False, int((self.start.silence_s + LAST_REQUEST_S) * 1e9)
        while True:
            ready = dict(poller.poll(HEARTBEAT_MS))
            t2_ns = time.monotonic_ns()
            if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
                # The orchestrator is gone, however it went. What was recorded is in the kernel's hands already,
                # and the power sampler ends when its own pipe to this process breaks.
                undo_changes()
                os._exit(3)
            if not silent and t2_ns - heard_ns > self.start.silence_s * 1e9 and control not in ready:
                # Nothing closes standard input when the network is cut or the workstation loses power.
                print(f"the orchestrator was silent for {self.start.silence_s:g} s", file=sys.stderr)
                silent = True
                self._orders.cancel.set()
            if silent and (self._orders.working.acquire(blocking=False) or t2_ns - heard_ns > last_ns):
                undo_changes()
                os._exit(4)
            if outbox in ready:
                control.send(outbox.recv())
            if control in ready:
                heard_ns = t2_ns
                message = messages.decode(control.recv(), self.run)
                if isinstance(message.body, messages.ClockPing):
                    self._send(control, message.seq, pong(message.body, t2_ns))
                elif isinstance(message.body, messages.Heartbeat):
                    pass
                elif isinstance(message.body, messages.Cancel):
                    self._orders.cancel.set()
                elif isinstance(message.body, messages.Complete):
                    self._orders.cancel.clear()
                elif isinstance(message.body, messages.Bye):
                    break
                elif isinstance(message.body, (messages.BeginLink, messages.Disturb)):
                    self._asides.put(message)
                else:
                    self._jobs.put(message)
            if t2_ns - heartbeat_ns >= HEARTBEAT_MS * 1e6:
                heartbeat_ns = t2_ns
                self._send(control, 0, messages.Heartbeat(t_ns=t2_ns))
        self._orders.cancel.set()
        self._asides.put(None)
        self._jobs.put(None)
        for thread in threads:
            thread.join(5.0)
        control.close(linger=0)
        outbox.close(linger=0)
        return 0

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 1000)
        socket.setsockopt(zmq.MAXMSGSIZE, messages.MAX_SEALED_BYTES)
        socket.setsockopt(zmq.IDENTITY, self.start.node.encode())
        socket.curve_publickey = self.start.keys.public.encode()
        socket.curve_secretkey = self.start.keys.secret.encode()
        socket.curve_serverkey = self.start.control_public.encode()
        socket.connect(self.start.control_endpoint)
        return socket

    def _send(self, socket: zmq.Socket[bytes], seq: int, body: Body) -> None:
        socket.send(self._encoded(seq, body))

    def _encoded(self, seq: int, body: Body) -> bytes:
        return messages.encode(Message(run=self.run, seq=seq, body=body))

    def _hello(self) -> messages.Hello:
        return messages.Hello(
            node=self.start.node,
            facts=HelloFacts(
                pid=os.getpid(),
                python=platform.python_version(),
                versions={
                    "testbed": VERSION,
                    "numpy": np.__version__,
                    "onnxruntime": onnxruntime.__version__,
                    "pyzmq": zmq.__version__,
                    "libzmq": zmq.zmq_version(),
                    "msgspec": msgspec.__version__,
                },
                board=BoardFacts.of(identify(Path(self.start.root))),
            ),
        )

    def _take(self, jobs: Jobs, carry_out: CarryOut) -> None:
        """One order after the other, each answered: with `Fault` where it cannot be done or its answer not be sent."""
        outbox = self._context.socket(zmq.PUSH)
        outbox.connect(self._outbox_address)
        while (message := jobs.get()) is not None:
            try:
                answer = self._encoded(message.seq, carry_out(message.body, lambda body: self._send(outbox, 0, body)))
            except TestbedError as error:
                answer = self._encoded(message.seq, messages.Fault.of(str(error), type(error).__name__))
            except Exception as error:  # a bug: its traceback goes to the worker's log
                traceback.print_exc()
                answer = self._encoded(message.seq, messages.Fault.of(f"{type(error).__name__}: {error}", "bug"))
            outbox.send(answer)
        outbox.close(linger=0)

    def _work(self) -> None:
        """The work thread."""
        try:
            self._take(self._jobs, self._orders.carry_out)
        finally:
            self._orders.end()

    def _report_fault(self, message: str) -> None:
        """Tell the orchestrator, unasked, of a fault; from any thread."""
        with self._context.socket(zmq.PUSH) as outbox:
            outbox.connect(self._outbox_address)
            self._send(outbox, 0, messages.Fault.of(message, "WorkerError"))
