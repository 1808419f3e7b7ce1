"""The workstation's end of a steward's conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.deploy.client import StewardClient
from testbed.errors import ConnectionLost


class Process:
    """An SSH session whose other end reads no more than the first piece of an upload."""

    def __init__(self) -> None:
        self.stdin, self.written, self.closed = self, [], False
        self.stuck = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        self.stuck.set()
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


class Connection:
    """A connection that opens this one session, without a terminal."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def create_process(self, command: str, *, encoding: None, request_pty: bool) -> Process:
        assert not request_pty
        assert "\n" not in command  # tcsh
        return self.process


def test_an_upload_that_is_interrupted_closes_the_conversation(tmp_path: Path) -> None:
    """Else the steward takes the next question for the rest of the file, and answers nothing any more."""
    file = tmp_path / "weights"
    file.write_bytes(bytes(1000))

    async def scenario() -> None:
        process = Process()
        steward = StewardClient("board", process)
        asking = asyncio.ensure_future(steward.ask("put", file, sha256="x"))
        await process.stuck.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert process.closed
        with pytest.raises(ConnectionLost, match="board: the SSH connection was closed in the middle of an upload"):
            await asyncio.wait_for(steward.ask("list"), 20)

    asyncio.run(scenario())


def test_a_question_whose_answer_nobody_waits_for_leaves_the_conversation_as_it_is() -> None:
    async def scenario() -> None:
        process = Process()
        steward = StewardClient("board", process)
        asking = asyncio.ensure_future(steward.ask("beat"))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert steward.lost is None
        assert not process.closed

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "said",
    [
        b"Segmentation fault\n",
        b"[1, 2]\n",
        b'{"id": 1, "do": "beat"}\n',  # a terminal's echo
        b'{"id": 1, "bytes": "many"}\n',
        b'{"event": "ended"}\n',
        b"\xff\xfe\n",
    ],
)
def test_garbage_ends_what_is_waited_for_with_an_error_that_names_the_node(said: bytes) -> None:
    async def scenario() -> None:
        process = Process()
        process.stdout, process.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        process.stdout.feed_data(b"Welcome: neucodex 3.11\n")
        steward = await StewardClient.start(Connection(process), "board", "python3", "x.board")
        asking = asyncio.ensure_future(steward.ask("list"))
        await asyncio.sleep(0)
        process.stdout.feed_data(said)
        with pytest.raises(
            ConnectionLost, match=r"board: the SSH connection was lost \(what its steward says cannot be"
        ):
            await asyncio.wait_for(asking, 20)
        assert process.closed
        steward.close()

    asyncio.run(scenario())
