"""Workers as processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

import testbed
from devices.base.plugins import files_on_nodes, told
from devices.profile import Profile
from testbed.deploy import cache
from testbed.deploy.deployer import Cleaned, Step, last_word, unwatched
from testbed.deploy.download import cache_folder
from testbed.errors import DeployError, DiskError
from testbed.link.messages import WorkerStart
from testbed.steward.kept import left_changed
from testbed.steward.lease import boot_id
from testbed.steward.processes import RUN_VARIABLE


class LocalWorker:
    """A worker that is a child of this process, in a session of its own: Ctrl-C does not reach it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return await self._process.wait()

    async def signal(self, number: signal.Signals) -> None:
        """Send its process a signal; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, grace_s: float) -> None:
        """Close its standard input; kill it when the grace is over."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class LocalDeployer:
    """This machine as a node. Folders are used where they lie, so nothing is pushed or fetched.

    It takes no lease: who measures on a machine of their own sees what else runs there.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    async def open(self, step: Step = unwatched) -> None:
        """Nothing to do: it is here."""

    async def boot_id(self) -> str:
        """This machine's."""
        return boot_id()

    async def push(self, folder: Path, digest: str, step: Step = unwatched) -> str:
        """The folder itself; the worker checks its hashes."""
        return str(folder.resolve())

    def node_folder(self, run: str, attempt: Path, node: str) -> str:
        """The attempt's own folder."""
        return str((attempt / node).resolve())

    def outputs_folder(self) -> str:
        """In what this machine keeps for the nodes that it deploys to: it is one of them."""
        return str(cache_folder() / "outputs")

    async def start(self, run: str, start: WorkerStart, log: Path) -> LocalWorker:
        """Start `python -m testbed.worker` with the profile's interpreter or this one."""
        python = self._profile.python or sys.executable
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            opened = log.open("ab")
        except OSError as error:
            raise DiskError.of(log, error) from error
        with opened as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(python, "-m", "testbed.worker", "--node", start.node, "--run", run),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env=_environment(**{RUN_VARIABLE: f"{run}/{start.node}"}),
                )
            except OSError as error:
                raise DeployError(f"{self._profile.name}: cannot start {python}: {error.strerror}") from error
        assert process.stdin is not None  # noqa: S101  (asked for above)
        with contextlib.suppress(ConnectionError):  # gone already: waiting for its hello tells why
            process.stdin.write(msgspec.json.encode(start) + b"\n")
            await process.stdin.drain()
        return LocalWorker(process, log)

    async def run_module(self, module: str, stdin: bytes, deadline_s: float) -> bytes:
        """Run `python -m MODULE` with the profile's interpreter or this one."""
        python = self._profile.python or sys.executable
        name = self._profile.name
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *(python, "-m", module), stdin=pipe, stdout=pipe, stderr=pipe, env=_environment()
            )
        except OSError as error:
            raise DeployError(f"{name}: cannot start {python}: {error.strerror}") from error
        try:
            output, errors = await asyncio.wait_for(process.communicate(stdin), deadline_s)
        except asyncio.TimeoutError:
            raise DeployError(
                f"{name}: {python} -m {module} was not done after {deadline_s:g} s; is it busy?"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise DeployError(f"{name}: {python} -m {module} failed: {last_word(errors)}")
        return output

    async def fetch(self, run: str, node: str, attempt: Path) -> None:
        """Nothing to do: it was recorded where it belongs."""

    async def clean(self, *, runs: bool, step: Step = unwatched) -> Cleaned:
        """Nothing is kept for a local node; what this machine keeps for the nodes that it deploys to is removed."""
        return Cleaned(str(cache_folder()), cache.clear(), {}, left_changed(Path(self._profile.root)))

    async def close(self) -> None:
        """Nothing to do: its workers ended with their standard input."""


def _environment(**more: str) -> dict[str, str]:
    # The worker may run in an environment that has its dependencies but not the testbed itself.
    root = str(Path(testbed.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **told(files_on_nodes()), **more}
