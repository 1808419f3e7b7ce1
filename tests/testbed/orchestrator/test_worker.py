"""What the orchestrator makes of a worker's words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.messages import Body, Message
from testbed.orchestrator.participants import participants
from testbed.orchestrator.worker import Worker
from tests.made import records


class Process:
    """A worker's process that goes on until it is told to stop."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    async def stop(self, grace_s: float) -> None:
        self._ended.set()


def fault(seq: int) -> Message:
    return Message(run="r", seq=seq, body=messages.Fault(message="the data plane failed", kind="WorkerError"))


async def worker(log: Path, sent: list[tuple[int, Body]]) -> Worker:
    log.write_text("Traceback: of a bug\n")
    node = participants([("cloud", records.profile("gpu"))])[0]
    return Worker(lambda seq, body: sent.append((seq, body)), node, Process(log), 60.0)


def test_a_fault_told_unasked_ends_whatever_waits_for_that_worker(tmp_path: Path) -> None:
    async def serve() -> None:
        cloud = await worker(tmp_path / "log", [])
        watching = asyncio.ensure_future(cloud.watch("serving"))
        await asyncio.sleep(0)
        cloud.heard(fault(0))
        with pytest.raises(WorkerError, match=r"(?s)cloud gpu, serving: the data plane failed; .*of a bug"):
            await watching
        await cloud.dismiss(0.0)

    asyncio.run(serve())


def test_a_fault_that_answers_an_order_concerns_that_order_alone(tmp_path: Path) -> None:
    async def ask() -> None:
        sent: list[tuple[int, Body]] = []
        cloud = await worker(tmp_path / "log", sent)
        asking = asyncio.ensure_future(cloud.ask(messages.Finish(), "closing its record"))
        await asyncio.sleep(0)
        cloud.heard(fault(sent[0][0]))
        with pytest.raises(WorkerError, match=r"cloud gpu, closing its record: the data plane failed$"):
            await asking
        asking = asyncio.ensure_future(cloud.ask(messages.Finish(), "closing its record"))
        await asyncio.sleep(0)
        cloud.heard(Message(run="r", seq=sent[1][0], body=messages.Done()))
        assert await asking == messages.Done()
        await cloud.dismiss(0.0)

    asyncio.run(ask())
