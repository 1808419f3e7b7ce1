"""The control plane speaks with participants: each by its id, with its own keys, whatever role they share."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from testbed.errors import LinkError, WorkerError
from testbed.link import messages
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import Body, Message
from testbed.orchestrator import ControlHub, Participant
from testbed.record.noderecord import Measured
from tests.made import records

RUN = "r1"
FIRST, SECOND = (Participant(name, "edge", records.profile(name)) for name in ("board", "board-2"))


class Running:
    """A process that runs until it is told how it ended."""

    log = Path("/nonexistent")

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await self.ended

    async def stop(self, grace_s: float) -> None: ...


class Peer:
    """A worker's end of the control plane, in this process."""

    def __init__(self, hub: ControlHub, name: str, keys: KeyPair) -> None:
        self.socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.identity = name.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        self.socket.curve_serverkey = hub.keys.public.encode()
        self.socket.connect(hub.endpoint)

    async def say(self, body: Body, seq: int = 0) -> None:
        await self.socket.send(messages.encode(Message(run=RUN, seq=seq, body=body)))

    async def next_order(self) -> Message:
        """The next message that is not a heartbeat."""
        while True:
            message = messages.decode(await self.socket.recv(), RUN)
            if not isinstance(message.body, messages.Heartbeat):
                return message


def scenario(play) -> None:
    """Play with a hub for two edges, their workers and their peers."""

    async def run() -> None:
        async with ControlHub(RUN, [FIRST.id, SECOND.id]) as hub:
            workers = [hub.worker(node, Running(), 5.0) for node in (FIRST, SECOND)]
            peers = [Peer(hub, node.id, hub.client_keys[node.id]) for node in (FIRST, SECOND)]
            try:
                await asyncio.wait_for(play(hub, workers, peers), 20)
            finally:
                for worker in workers:
                    worker.process.ended.set_result(0)
                for peer in peers:
                    peer.socket.close()

    asyncio.run(run())


def hello(name: str) -> messages.Hello:
    return messages.Hello(node=name, facts=records.node_repeat().hello)


def test_two_edges_say_hello_and_each_is_answered_for_itself() -> None:
    async def play(hub, workers, peers) -> None:
        for peer, node in zip(peers, (FIRST, SECOND), strict=True):
            await peer.say(hello(node.id))
        assert [(await worker.hello(5)).node for worker in workers] == ["board", "board-2"]
        order = messages.Measure(samples=[], first_request_id=0)
        asking = [asyncio.create_task(worker.ask(order, "measuring")) for worker in workers]
        for count, peer in enumerate(peers, start=1):
            asked = await peer.next_order()
            await peer.say(messages.Measured(detail=Measured(requests=count, whole=True)), asked.seq)
        assert [(await each).detail.requests for each in asking] == [1, 2]

    scenario(play)


def test_a_fault_names_the_role_and_the_participant() -> None:
    async def play(hub, workers, peers) -> None:
        await peers[1].say(hello("board-2"))
        await workers[1].hello(5)
        asking = asyncio.create_task(workers[1].ask(messages.Finish(), "closing its record"))
        order = await peers[1].next_order()
        await peers[1].say(messages.Fault(message="the disk is full", kind="DeviceError"), order.seq)
        with pytest.raises(WorkerError, match=r"^edge board-2, closing its record: the disk is full$"):
            await asking

    scenario(play)


def test_a_process_that_ends_is_told_of_whoever_else_still_runs() -> None:
    async def play(hub, workers, peers) -> None:
        asking = asyncio.create_task(workers[0].ask(messages.Finish(), "closing its record"))
        workers[0].process.ended.set_result(-9)
        with pytest.raises(WorkerError, match=r"^edge board, closing its record: the worker was ended by signal 9"):
            await asking
        workers[0].process.ended = asyncio.get_running_loop().create_future()
        await peers[1].say(hello("board-2"))
        assert (await workers[1].hello(5)).node == "board-2"

    scenario(play)


def test_a_worker_whose_words_cannot_be_read_is_not_waited_for() -> None:
    async def play(hub, workers, peers) -> None:
        await peers[0].say(hello("board"))
        await workers[0].hello(5)
        asking = asyncio.create_task(workers[0].ask(messages.CheckPath(when="before"), "checking the link"))
        await peers[0].next_order()
        await peers[0].socket.send(messages.encode(Message(run="another", seq=1, body=messages.Done())))
        with pytest.raises(WorkerError, match=r"^edge board, checking the link: .*another"):
            await asking

    scenario(play)


def test_keys_that_were_not_made_for_a_participant_are_turned_away() -> None:
    async def play(hub, workers, peers) -> None:
        stranger = Peer(hub, "board", new_keypair())
        try:
            await stranger.say(hello("stranger"))
            await peers[1].say(hello("board-2"))
            await workers[1].hello(5)
            with pytest.raises(WorkerError, match=r"edge board, starting: no answer within 0\.5 s"):
                await workers[0].hello(0.5)
        finally:
            stranger.socket.close()

    scenario(play)


def test_a_control_plane_that_cannot_listen_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: zmq.Socket, address: str) -> None:
        if address.startswith("tcp:"):
            raise zmq.ZMQError(errno.EADDRNOTAVAIL)
        bind(self, address)

    bind = zmq.Socket.bind
    monkeypatch.setattr(zmq.Socket, "bind", refused)
    before = threading.active_count()
    with pytest.raises(LinkError, match=r"^the control plane cannot listen on this machine's 127\.0\.0\.1: "):
        scenario(lambda *_: None)
    assert threading.active_count() == before


def test_a_control_plane_that_fails_fails_whoever_waits_and_still_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: zmq.Poller, timeout: int | None = None) -> list[tuple[zmq.Socket, int]]:
        if threading.current_thread().name == "control" and broken.is_set():
            raise zmq.ZMQError(errno.EMFILE)
        return poll(self, timeout)

    poll, broken = zmq.Poller.poll, threading.Event()
    monkeypatch.setattr(zmq.Poller, "poll", failing)

    async def play(hub, workers, peers) -> None:
        await peers[0].say(hello("board"))
        await workers[0].hello(5)
        asking = asyncio.create_task(workers[0].ask(messages.Finish(), "closing its record"))
        broken.set()
        with pytest.raises(WorkerError, match=r"the control plane failed on this machine: Too many open files"):
            await asking
        workers[0].tell(messages.Bye())  # nobody carries it any more, and nobody waits

    scenario(play)
