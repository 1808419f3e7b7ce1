"""What the orchestrator asks of a way to reach a node, whichever way that is.

A worker is named after the participant that it is, `node`: an id that names a folder as well.
"""

from __future__ import annotations

import getpass
import signal
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from testbed.link.messages import WorkerStart
from testbed.steward.kept import Gone

LOG_LINES = 8
CLAIM_DIGITS = 10

Step: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done on a node that takes a while, and how many bytes of how many are (of 0: nobody knows)."""


def unwatched(what: str, done_bytes: int, total_bytes: int) -> None:
    """Of steps that nobody wants to hear."""


@dataclass(frozen=True)
class Claim:
    """On whose behalf a node is used: `owner` is user@host, `campaign` an id that no other campaign has."""

    owner: str
    experiment: str
    campaign: str

    @classmethod
    def of(cls, experiment: str) -> Claim:
        """Of a campaign that begins now, by whoever runs this."""
        return cls(f"{getpass.getuser()}@{socket.gethostname()}", experiment, uuid.uuid4().hex[:CLAIM_DIGITS])


@dataclass(frozen=True)
class Cleaned:
    """What was removed of what the testbed keeps in `root`, and what was not.

    `lost` are folders with what runs recorded and nobody fetched, with their bytes. `changed` are undo journals of
    settings that an earlier run left changed.
    """

    root: str
    removed: Mapping[str, Gone]
    lost: Mapping[str, int]
    changed: Sequence[str]


class WorkerProcess(Protocol):
    """A started worker."""

    log: Path

    async def wait(self) -> int:
        """Wait for its end; returns the exit code (negative: the signal that ended it).

        Raises:
            ConnectionLost: how it ended will not be known.
        """

    async def signal(self, number: signal.Signals) -> None:
        """Send its process a signal; nothing where it has ended.

        Raises:
            TestbedError: the node does not answer.
        """

    async def stop(self, grace_s: float) -> None:
        """Close its standard input, which ends it; what is left after the grace is killed."""


class Deployer(Protocol):
    """A node that artefacts can be put on and workers started on, for one campaign."""

    async def open(self, step: Step = unwatched) -> None:
        """Reach the node, and put the testbed on it. Does nothing where that is done and the node still answers.

        Raises:
            DeployError: it cannot be used, and why.
        """

    async def boot_id(self) -> str:
        """Which boot of which machine the node is: equal for two nodes that share a loopback address."""

    async def push(self, folder: Path, digest: str, step: Step = unwatched) -> str:
        """Make a folder's content available on the node; returns its path there."""

    def node_folder(self, run: str, attempt: Path, node: str) -> str:
        """The path on the node under which the worker of a run records an attempt."""

    def outputs_folder(self) -> str:
        """The path on the node of what emulated nodes keep of what they computed ahead."""

    async def start(self, run: str, start: WorkerStart, log: Path) -> WorkerProcess:
        """Start the worker `start.node`; its standard output and error go to `log`.

        Raises:
            DeployError: it cannot be started.
        """

    async def run_module(self, module: str, stdin: bytes, deadline_s: float) -> bytes:
        """Run `python -m MODULE` on the node as a worker would run; returns what it printed.

        Raises:
            DeployError: it cannot be started, failed, or did not end in time, with the last it said.
        """

    async def fetch(self, run: str, node: str, attempt: Path) -> None:
        """Bring what the worker of a run recorded to `attempt/NODE` on the workstation.

        Raises:
            TestbedError: some of it is still on the node only; `open` tries again.
        """

    async def clean(self, *, runs: bool, step: Step = unwatched) -> Cleaned:
        """Reach the node and remove what the testbed keeps there; what lost runs recorded only if `runs`.

        Raises:
            DeployError: the node cannot be reached, or a campaign uses it.
        """

    async def close(self) -> None:
        """Let go of the node; more than once does no harm."""


def log_tail(log: Path) -> str:
    """The last lines of a worker's log, indented, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return "its log cannot be read"
    return "its log ends with:\n" + "\n".join(f"    {line}" for line in lines) if lines else "its log is empty"


def last_word(errors: bytes) -> str:
    """The last line of a standard error, which is where Python says what went wrong."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
