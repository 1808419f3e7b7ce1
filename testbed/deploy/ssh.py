"""Nodes that are reached over SSH.

One connection for a campaign, and one steward on it (`testbed.steward`). Control goes through the connection, by a port
forwarded from the node's loopback; data goes from node to node. What is on the node already is not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncssh
import msgspec

from devices.base.plugins import told
from devices.profile import Profile, SshReach
from testbed.deploy import cache, wheels
from testbed.deploy.client import StewardClient
from testbed.deploy.code import pack_testbed, packed_plugins
from testbed.deploy.connect import connect
from testbed.deploy.deployer import Claim, Cleaned, Step, last_word, unwatched
from testbed.deploy.download import caching
from testbed.deploy.environment import KEY_DIGITS, interpreter, send
from testbed.deploy.sshworker import ALIVE_S, SshWorker
from testbed.errors import ConnectionLost, DeployError
from testbed.link.messages import WorkerStart
from testbed.record.log import write_atomically
from testbed.runtime.digest import file_digest
from testbed.steward.kept import Gone

_LOG = logging.getLogger(__name__)


class SshDeployer:
    """A node over SSH, for one campaign."""

    def __init__(self, profile: Profile, claim: Claim, *, tc: bool = False) -> None:
        assert isinstance(profile.reach, SshReach)  # noqa: S101  (the caller chose by it)
        self._profile, self._claim, self._host = profile, claim, profile.reach.ssh
        self._needed = wheels.requirements(wheels.extras(profile, tc=tc))
        self._connection: asyncssh.SSHClientConnection | None = None
        self._steward: StewardClient | None = None
        self._facts: dict[str, Any] = {}
        self._python = ""
        self._environment: dict[str, str] = {}
        self._owed: list[tuple[str, str, Path]] = []
        self._there: dict[str, str] = {}

    async def open(self, step: Step = unwatched) -> None:
        """Connect, take the lease, send what is lacking; then fetch what an earlier connection left behind."""
        if self._steward is not None and await self._steward.answers(ALIVE_S):
            return
        await self.close()
        with cache.in_use() as kept:
            with caching(kept):
                code = await asyncio.to_thread(pack_testbed, kept)
            sha256 = await asyncio.to_thread(file_digest, code)
            async with self._reached({sha256: code.stat().st_size}, step) as steward:
                lacking = self._facts["lacking"]
                await send(steward, self._facts, {sha256: code}, lacking, step=step, doing="sending the testbed")
                unpacked = await steward.ask("unpack", sha256=sha256)
                self._environment = {
                    "PYTHONPATH": unpacked,
                    "PYTHONUNBUFFERED": "1",
                    **told(Path(unpacked) / name for name in packed_plugins()),
                }
                if wheels.without_torch(self._profile, self._facts["packages"]):
                    raise DeployError(
                        f"{self._profile.name}: runtime.provider torch, but {self._facts['python']} there has no "
                        "PyTorch, which is never sent; install it on the node (on a Jetson NVIDIA's own wheel for its "
                        "JetPack), or name as `python:` one that has it"
                    )
                self._python = await interpreter(steward, self._facts, self._needed, step)
                await self._drop_unused(steward)
        await asyncio.to_thread(cache.drop_unused)
        for run, owing, attempt in list(self._owed):
            await self.fetch(run, owing, attempt)

    async def clean(self, *, runs: bool, step: Step = unwatched) -> Cleaned:
        """Connect, take the lease, and have the steward remove what it keeps."""
        await self.close()
        async with self._reached({}, step) as steward:
            step("removing", 0, 0)
            done = await steward.ask("clean", runs=runs, root=self._profile.root)
        removed = {kind: Gone(*gone) for kind, gone in done["removed"].items()}
        return Cleaned(done["root"], removed, dict(done["lost"]), done["changed"])

    @contextlib.asynccontextmanager
    async def _reached(self, files: Mapping[str, int], step: Step) -> AsyncIterator[StewardClient]:
        """A steward on the node that has its lease; whatever then goes wrong closes the connection."""
        node = self._profile.name
        step("connecting", 0, 0)
        self._connection = await connect(node, self._host)
        try:
            run = f"{self._claim.campaign}.{node}"
            self._steward = await StewardClient.start(self._connection, node, self._profile.python or "python3", run)
            self._facts = await self._steward.ask(
                "open",
                folder=self._profile.folder,
                claim=msgspec.to_builtins(self._claim),
                node=node,
                packages={**wheels.probes(self._needed), wheels.TORCH: wheels.TORCH},
                files=files,
                now_s=time.time(),
            )
            yield self._steward
        except asyncssh.Error as error:
            await self.close()
            raise DeployError(
                f"{node}: sshd there started nothing ({error.reason or error}); see its log: journalctl -u ssh"
            ) from error
        except BaseException:
            await self.close()
            raise

    async def _drop_unused(self, steward: StewardClient) -> None:
        """Once what this campaign needs is noted as used; that something cannot be removed fails no campaign."""
        try:
            removed = {kind: Gone(*gone) for kind, gone in (await steward.ask("drop_unused")).items()}
        except DeployError as error:
            _LOG.warning("%s (removing what is unused)", error)
            return
        if removed:
            name, root = self._profile.name, self._facts["root"]
            _LOG.info("%s: removed from %s what is %s: %s", name, root, cache.UNUSED, cache.in_words(removed))

    async def boot_id(self) -> str:
        """As the steward found it."""
        return str(self._facts["boot_id"])

    async def push(self, folder: Path, digest: str, step: Step = unwatched) -> str:
        """Send the files that the node does not have yet; a folder is there whole or not at all."""
        if digest not in self._there:
            steward = self._answering()
            path = await steward.ask("folder", digest=digest)
            if path is None:
                found = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
                hashes = {name: await asyncio.to_thread(file_digest, file) for name, file in found.items()}
                files = {hashes[name]: file for name, file in found.items()}
                sizes = {sha256: file.stat().st_size for sha256, file in files.items()}
                lacking = await steward.ask("files", files=sizes)
                await send(steward, self._facts, files, lacking, step=step, doing="sending model and samples")
                path = await steward.ask("folder", digest=digest, files=hashes)
            self._there[digest] = path
        return self._there[digest]

    def node_folder(self, run: str, attempt: Path, node: str) -> str:
        """A folder of the run, below the profile's `folder`."""
        return f"{self._facts['root']}/runs/{run}/{node}"

    def outputs_folder(self) -> str:
        """Below the profile's `folder`, beside models and samples."""
        return f"{self._facts['root']}/outputs"

    async def start(self, run: str, start: WorkerStart, log: Path) -> SshWorker:
        """Forward a port of the node's loopback to the control plane, and start a worker that connects to it."""
        steward, connection = self._answering(), self._connection
        assert connection is not None  # noqa: S101  (there is a steward)
        hub = int(start.control_endpoint.rpartition(":")[2])
        try:
            listener = await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", hub)
        except (asyncssh.Error, OSError) as error:
            raise DeployError(
                f"{self._profile.name}: sshd there forwards no port to the workstation ({error}); it needs "
                "AllowTcpForwarding yes (or remote) in its sshd_config"
            ) from error
        start = msgspec.structs.replace(start, control_endpoint=f"tcp://127.0.0.1:{listener.get_port()}")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()

        def write(data: bytes) -> None:
            with log.open("ab") as file:
                file.write(data)

        command = [self._python, "-m", "testbed.worker", "--node", start.node, "--run", run]
        pid, ended = await steward.child(
            msgspec.json.encode(start) + b"\n",
            write,
            command=command,
            run=run,
            node=start.node,
            environment=self._environment,
        )
        worker = SshWorker(steward, pid, ended, log)
        worker.on_end = listener.close
        return worker

    async def run_module(self, module: str, stdin: bytes, deadline_s: float) -> bytes:
        """Run `python -m MODULE` as a child of the steward, in a folder of its own that is removed again."""
        steward, node = self._answering(), self._profile.name
        output = bytearray()
        run = f"{module}-{uuid.uuid4().hex[:KEY_DIGITS]}"
        pid, ended = await steward.child(
            stdin,
            output.extend,
            command=[self._python, "-m", module],
            run=run,
            node=module,
            environment=self._environment,
        )
        try:
            await steward.ask("close", child=pid)
            code = await asyncio.wait_for(asyncio.shield(ended), deadline_s)
        except asyncio.TimeoutError:
            raise DeployError(
                f"{node}: {self._python} -m {module} was not done after {deadline_s:g} s; is it busy?"
            ) from None
        finally:
            if not ended.done() and steward.lost is None:
                await steward.ask("kill", child=pid)
            if steward.lost is None:
                await steward.ask("remove", run=run, node=module)
        if code != 0:
            raise DeployError(f"{node}: {self._python} -m {module} failed: {last_word(bytes(output))}")
        return bytes(output)

    async def fetch(self, run: str, node: str, attempt: Path) -> None:
        """Fetch the files whole, then remove them on the node; what is not fetched now is when `open` gets through."""
        self._owed = [owed for owed in self._owed if owed[:2] != (run, node)] + [(run, node, attempt)]
        steward = self._answering()
        for name in await steward.ask("list", run=run, node=node):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise DeployError(
                    f"{self._profile.name}: it says that a worker recorded {name!r}, which leads elsewhere"
                )
            write_atomically(attempt / node / name, await steward.get(run=run, node=node, name=name))
        await steward.ask("remove", run=run, node=node)
        self._owed.remove((run, node, attempt))

    async def close(self) -> None:
        """End the steward, which gives the lease back, and the connection."""
        if self._steward is not None:
            with contextlib.suppress(ConnectionLost, DeployError, asyncio.TimeoutError):
                await asyncio.wait_for(self._steward.ask("bye"), ALIVE_S)
            self._steward.close()
        if self._connection is not None:
            self._connection.close()
            with contextlib.suppress(asyncio.TimeoutError, asyncssh.Error, OSError):
                await asyncio.wait_for(self._connection.wait_closed(), 2.0)
            self._connection.abort()
        self._steward = self._connection = None
        self._there = {}

    def _answering(self) -> StewardClient:
        if self._steward is None:
            raise ConnectionLost(f"{self._profile.name}: not connected")
        return self._steward
