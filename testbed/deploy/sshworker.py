"""A worker on a node over SSH, as the workstation holds it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from testbed.deploy.client import StewardClient
from testbed.errors import ConnectionLost

ALIVE_S = 5.0
"""How soon a node that is still there answers."""


class SshWorker:
    """A worker on the node, a child of its steward."""

    def __init__(self, steward: StewardClient, pid: int, ended: asyncio.Future[int], log: Path) -> None:
        self._steward, self._pid, self._ended = steward, pid, ended
        self.log = log
        self.on_end: Callable[[], None] = lambda: None

    async def wait(self) -> int:
        """Wait for its end; returns the exit code.

        Raises:
            ConnectionLost: so it will not be known here.
        """
        return await asyncio.shield(self._ended)

    async def signal(self, number: signal.Signals) -> None:
        """Send its process a signal; nothing where it has ended.

        Raises:
            ConnectionLost: the node does not answer.
        """
        await self._steward.ask("signal", child=self._pid, number=int(number))

    async def stop(self, grace_s: float) -> None:
        """Close its standard input; kill it when the grace is over, and give up when the node does not answer."""
        try:
            for do in ("close", "kill"):
                if not self._ended.done():
                    await asyncio.wait_for(self._steward.ask(do, child=self._pid), ALIVE_S)
                    await asyncio.wait({self._ended}, timeout=grace_s)
            await asyncio.wait({self._ended}, timeout=ALIVE_S)
        except (ConnectionLost, asyncio.TimeoutError):
            pass
        if not self._ended.done():
            self._steward.close()  # the steward ends it, now or when its own limit has passed
        self.on_end()
