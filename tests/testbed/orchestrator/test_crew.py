"""Edges work while the others serve them: who does not serve any more ends the work at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import WorkerError
from testbed.orchestrator.crew import Crew
from testbed.orchestrator.participants import participants
from tests.made import records
from tests.testbed.orchestrator.test_interrupts import attempt_in


class Server:
    """A worker that serves until it is gone."""

    def __init__(self) -> None:
        self.gone, self.watched = asyncio.Event(), False

    async def watch(self, doing: str) -> None:
        self.watched = True
        try:
            await self.gone.wait()
            raise WorkerError(f"cloud server, {doing}: the worker was ended by signal 9")
        finally:
            self.watched = False


def crew_with(server: Server, folder: Path) -> Crew:
    both = participants([("edge", records.profile("board")), ("cloud", records.profile("server"))])
    nobody: Any = None
    crew = Crew(nobody, replace(attempt_in(folder), participants=both), {}, "r1", lambda *step: None)
    crew.workers = {"board": nobody, "server": server}  # type: ignore[dict-item]
    return crew


def test_a_cloud_that_is_gone_ends_what_its_edge_waits_for(tmp_path: Path) -> None:
    async def play() -> None:
        server = Server()
        forever = asyncio.Event()
        working = asyncio.ensure_future(crew_with(server, tmp_path).served(forever.wait()))
        await asyncio.sleep(0)
        server.gone.set()
        with pytest.raises(WorkerError, match="cloud server, serving: the worker was ended by signal 9"):
            await asyncio.wait_for(working, 20)

    asyncio.run(play())


def test_a_cloud_that_is_gone_is_the_reason_also_where_its_edge_fails_first(tmp_path: Path) -> None:
    async def play() -> None:
        for gone, reason in ((True, "cloud server, serving"), (False, "edge board, checking the link")):
            server = Server()

            async def work(server: Server, gone: bool) -> None:
                if gone:
                    asyncio.get_running_loop().call_soon(server.gone.set)
                raise WorkerError("edge board, checking the link: the connection was lost")

            with pytest.raises(WorkerError, match=reason):
                await crew_with(server, tmp_path).served(work(server, gone))

    asyncio.run(play())


def test_a_cloud_that_serves_is_watched_no_longer_than_its_edge_works(tmp_path: Path) -> None:
    async def play() -> None:
        server = Server()

        async def work() -> str:
            await asyncio.sleep(0)
            assert server.watched
            return "done"

        assert await crew_with(server, tmp_path).served(work()) == "done"
        assert not server.watched

    asyncio.run(play())
