"""The workstation's end of the conversation with a node's steward (`testbed.steward.service`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh

import testbed
from testbed.errors import ConnectionLost, DeployError, FolderError

# In the order in which they import each other.
NAMES = ("interpreter", "lease", "processes", "kept", "store", "inbox", "children")
MODULES = ("testbed", "testbed.steward", *(f"testbed.steward.{name}" for name in NAMES))
SERVICE = "testbed.steward.service"
# Runs on whatever Python there is, as far as the version check; one process, nothing on the node's disk. What ends the
# first line that is ours tells the steward's words from what a login shell prints, with or without a newline.
BOOT = """import sys,os,json,types
v=sys.version_info[:2]
os.write(1,b"neucodex %d.%d\\n"%v)
if v<(3,10): sys.exit(9)
for n,s in json.loads(sys.stdin.buffer.raw.readline()):
 m=sys.modules[n]=types.ModuleType(n);m.__path__=[];exec(compile(s,n,"exec"),m.__dict__)
sys.exit(m.main())"""
BEAT_S = 2.0
BEAT = json.dumps({"id": 0, "do": "beat"}).encode() + b"\n"  # answers of that number are not looked for
ANSWER_S = 20.0
BANNER_BYTES = 1 << 20
"""How much a login shell may print before the steward speaks."""
BANNER_S = 60.0
MARK = re.compile(rb"neucodex (\d+)\.(\d+)\r?\n\Z")
NO_PYTHON = re.compile(r"not found|no such file|unknown command|permission denied|python", re.IGNORECASE)
"""What a shell, or Python itself, says where Python does not start."""
CHUNK = 1 << 18


class Started(NamedTuple):
    """What is told of a child of the steward: its output as it comes, and its exit code."""

    output: Callable[[bytes], None]
    ended: asyncio.Future[int]


class StewardClient:
    """One steward over one SSH connection. When the connection is lost, everything that is waited for fails.

    Attributes:
        node: its name, for errors.
        lost: why there is no connection any more; None while there is.
    """

    def __init__(self, node: str, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.node, self._process = node, process
        self._answers: dict[int, asyncio.Future[tuple[Any, bytes]]] = {}
        self._children: dict[int, Started] = {}
        self._number = 0
        self._writing = asyncio.Lock()
        self._heard: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self.lost: str | None = None

    @classmethod
    async def start(cls, connection: asyncssh.SSHClientConnection, node: str, python: str, run: str) -> StewardClient:
        """Start a steward on the node.

        Raises:
            DeployError: there is no Python on it that can run one.
        """
        program = f"~/{shlex.quote(python[2:])}" if python.startswith("~/") else shlex.quote(python)
        # In one line, without a character that tcsh or fish would take for something else.
        boot = f"import base64;exec(base64.b64decode({base64.b64encode(BOOT.encode()).decode()!r}))".replace("'", '"')
        command = f"exec {program} -u -c '{boot}' {SERVICE} --run {shlex.quote(run)}"
        # A terminal would give the steward's words back to us, whatever RequestTTY says.
        process = await connection.create_process(command, encoding=None, request_pty=False)
        client = cls(node, process)
        sources = [(name, "") if name == "testbed" else (name, _source(name)) for name in (*MODULES, SERVICE)]
        process.stdin.write(json.dumps(sources).encode() + b"\n")
        version = await client._greeting(python)
        if version < (3, 10):
            process.close()
            raise DeployError(
                f"{node}: {python} is Python {version[0]}.{version[1]}; a node needs 3.10 or newer. Install one beside "
                "it and name it as `python:` in the profile"
            )
        client._heard = asyncio.ensure_future(client._hear())
        client._beating = asyncio.ensure_future(client._beat())
        return client

    async def ask(
        self, do: str, data: bytes | Path | None = None, *, sent: Callable[[int], None] = lambda size: None, **what: Any
    ) -> Any:
        """Ask for something; returns the answer. `sent` is told the size of each piece of the data that is on its way.

        Raises:
            DeployError: it could not be done.
            ConnectionLost: it will not be known whether it was.
        """
        answer, _ = await self._ask(do, data, what, sent)
        return answer

    async def get(self, **what: Any) -> bytes:
        """The content of a recorded file."""
        _, data = await self._ask("get", None, what)
        return data

    async def child(self, data: bytes, output: Callable[[bytes], None], **what: Any) -> tuple[int, asyncio.Future[int]]:
        """Start a worker; returns its process id on the node and what will be its exit code."""
        pid: int = await self.ask("start", data, **what)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.lost is not None:
            ended.set_exception(ConnectionLost(self.lost))
        self._children[pid] = Started(output, ended)
        return pid, ended

    async def answers(self, seconds: float) -> bool:
        """Whether the steward is there and answers in time."""
        try:
            await asyncio.wait_for(self.ask("beat"), seconds)
        except (ConnectionLost, asyncio.TimeoutError):
            return False
        return True

    def close(self) -> None:
        """Close the steward's input, which ends it and whatever it has started."""
        self._lose(f"{self.node}: the connection was closed")
        self._process.close()
        for task in (self._heard, self._beating):
            if task is not None:
                task.cancel()

    async def _ask(
        self,
        do: str,
        data: bytes | Path | None,
        what: dict[str, Any],
        sent: Callable[[int], None] = lambda size: None,
    ) -> tuple[Any, bytes]:
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        self._number += 1
        number = self._number
        answer: asyncio.Future[tuple[Any, bytes]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        size = {} if data is None else {"bytes": data.stat().st_size if isinstance(data, Path) else len(data)}
        written = True
        try:
            async with self._writing:
                written = False
                self._process.stdin.write(json.dumps({"id": number, "do": do, **size, **what}).encode() + b"\n")
                async for chunk in _chunks(data):
                    self._process.stdin.write(chunk)
                    await self._process.stdin.drain()
                    sent(len(chunk))
                written = True
            return await answer
        except (OSError, asyncssh.Error) as error:
            self._lose(f"{self.node}: the SSH connection was lost ({error or type(error).__name__})")
            raise ConnectionLost(self.lost) from error
        finally:
            self._answers.pop(number, None)
            if not written:  # the steward would take whatever comes next for the rest of this
                self._lose(f"{self.node}: the SSH connection was closed in the middle of an upload")
                self._process.close()

    async def _greeting(self, python: str) -> tuple[int, int]:
        """The Python that the steward runs on; what a login shell prints before is passed over."""
        printed = bytearray()
        clock = asyncio.get_running_loop().time
        until = clock() + BANNER_S
        with contextlib.suppress(asyncio.TimeoutError):
            while len(printed) < BANNER_BYTES and clock() < until:
                line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
                if found := MARK.search(line):
                    return int(found[1]), int(found[2])
                if not line:
                    break
                printed += line
        raise DeployError(f"{self.node}: {await self._instead(python, bytes(printed))}")

    async def _instead(self, python: str, printed: bytes) -> str:
        """What happened where no steward answers, and what to do."""
        ended, said = self._process.stdout.at_eof(), b""
        with contextlib.suppress(asyncio.TimeoutError, asyncssh.Error):
            said = await asyncio.wait_for(self._process.stderr.read(2000), 2.0)
            if ended:
                await asyncio.wait_for(self._process.wait_closed(), 2.0)  # its exit code comes last
        self._process.close()
        complaint, banner = (
            ([line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()] or [""])[-1][:200]
            for text in (said, printed)
        )
        if ended and (self._process.exit_status in (126, 127) or NO_PYTHON.search(complaint)):
            return (
                f"{python} does not start there ({complaint or 'no such command'}); install Python 3.10 or newer, or "
                "name it as `python:` in the profile"
            )
        if ended:
            return (
                f"the login there ends before {python} starts ({complaint or banner or 'without a word'}); the user "
                "needs a shell that runs commands (chsh -s /bin/bash USER), and login scripts that let it"
            )
        last = f" (login scripts printed {len(printed)} bytes, at last {banner!r})" if banner else ""
        return (
            f"no answer from {python} there{last}; see what `ssh HOST {python} -V` does there, and let login scripts "
            "print little and wait for nothing where there is no terminal"
        )

    async def _hear(self) -> None:
        stream, line = self._process.stdout, b""
        try:
            while line := await stream.readline():
                message = json.loads(line)
                data = await stream.readexactly(message["bytes"]) if message.get("bytes") else b""
                self._take_in(message, data)
            said = (await self._process.stderr.read(2000)).decode(errors="replace").strip().splitlines()
            how = said[-1] if said else "the node closed it"
        except (asyncssh.Error, OSError, asyncio.IncompleteReadError) as error:
            how = str(error) or type(error).__name__
        except (ValueError, LookupError, TypeError, AttributeError):
            how = f"what its steward says cannot be read: {line[:80]!r}"
            self._process.close()
        self._lose(f"{self.node}: the SSH connection was lost ({how})")

    def _take_in(self, message: dict[str, Any], data: bytes) -> None:
        if "event" in message:
            child = self._children.get(message["child"])
            if child is not None and message["event"] == "output":
                child.output(data)
            elif child is not None and not child.ended.done():
                child.ended.set_result(message["code"])
            return
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():
            return
        if "folder" in message:
            where = f"{message['folder']} is where the testbed keeps its files there"
            said = (
                f"{self.node}: {message['error']}; {where}: {message['how']}, or name another `folder:` in the profile"
            )
            answer.set_exception(FolderError(said))
        elif "error" in message:
            answer.set_exception(DeployError(f"{self.node}: {message['error']}"))
        else:
            answer.set_result((message["answer"], data))

    async def _beat(self) -> None:
        """Say something every now and then. Nobody waits for the answer: a steward that installs gives it late."""
        while self.lost is None:
            await asyncio.sleep(BEAT_S)
            if not self._writing.locked():  # an upload says enough
                with contextlib.suppress(OSError, asyncssh.Error):  # whoever asks next hears of it
                    self._process.stdin.write(BEAT)

    def _lose(self, why: str) -> None:
        if self.lost is not None:
            return
        self.lost = why
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionLost(why))
        for child in self._children.values():
            if not child.ended.done():
                child.ended.set_exception(ConnectionLost(why))
                child.ended.exception()  # whoever waits hears of it; nobody has to


def _source(module: str) -> str:
    path = Path(testbed.__file__).parent.parent.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


async def _chunks(data: bytes | Path | None) -> AsyncIterator[bytes]:
    if isinstance(data, bytes):
        yield data
    elif data is not None:
        with data.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
