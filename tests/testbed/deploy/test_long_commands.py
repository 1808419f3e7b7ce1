"""A node that is busy for longer than the workstation may be silent: real stewards, with a shorter patience."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from testbed.deploy import client
from testbed.deploy.client import StewardClient
from testbed.errors import ConnectionLost
from tests.fakes.disk import SmallDisk, small_disk

CLAIM = {"owner": "somebody@somewhere", "experiment": "long", "campaign": "1"}
SILENCE_S = 1


class Here:
    """Stands for an SSH connection: runs its command on this machine."""

    process: Any

    async def create_process(self, command: str, encoding: None, request_pty: bool) -> Any:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        self.process = await asyncio.create_subprocess_shell(command, **pipes)
        self.process.close = self.process.stdin.close
        return self.process


@contextlib.asynccontextmanager
async def steward(folder: Path) -> AsyncIterator[StewardClient]:
    here = Here()
    started = await StewardClient.start(here, "board", "python3", "long")  # type: ignore[arg-type]
    try:
        opening = {"folder": str(folder), "node": "board", "claim": CLAIM, "packages": {}, "files": {}}
        await started.ask("open", **opening, now_s=time.time())
        yield started
    finally:
        started.close()
        await here.process.communicate()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steward gives up after a second; the workstation says something ten times in that time."""
    whole = client._source  # noqa: SLF001  (the steward's patience is a constant of what is sent to the node)
    monkeypatch.setattr(
        client, "_source", lambda module: whole(module).replace("SILENCE_S = 20", f"SILENCE_S = {SILENCE_S}")
    )
    monkeypatch.setattr(client, "BEAT_S", SILENCE_S / 10)


def test_an_installation_may_take_longer_than_the_workstation_may_be_silent(tmp_path: Path) -> None:
    async def install() -> str:
        async with steward(tmp_path) as board:
            wait = ["-c", f"import time; time.sleep({2.5 * SILENCE_S})"]
            answer: str = await board.ask("environment", key="k", wheels={}, commands=[wait])
            return answer

    assert Path(asyncio.run(install())).exists()


def test_a_workstation_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BEAT_S", 3600)

    async def install() -> None:
        async with steward(tmp_path) as board:
            await board.ask("environment", key="k", wheels={}, commands=[["-c", "import time; time.sleep(60)"]])

    with pytest.raises(ConnectionLost, match=f"silent for {SILENCE_S} s"):
        asyncio.run(install())


def test_a_node_whose_disk_can_no_longer_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory card that fails turns read-only, and the lease on it cannot be renewed."""
    whole = client._source  # noqa: SLF001  (as above)
    monkeypatch.setattr(client, "_source", lambda module: whole(module).replace("RENEW_S = 15.0", "RENEW_S = 0.1"))

    async def work(disk: SmallDisk) -> str:
        async with steward(tmp_path / "node") as board:
            disk.remount("ro")
            while board.lost is None:
                await asyncio.sleep(0.05)
            return board.lost

    with small_disk(tmp_path / "node") as disk:
        said = asyncio.run(asyncio.wait_for(work(disk), 20))
    assert re.search(r"Read-only file system: \S*neucodex\.lease", said), said
    assert "OSError" not in said
