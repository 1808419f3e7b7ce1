"""The steward: serves one campaign on one node, over its standard input and output, for as long as it hears from it.

Both ways a message is a line of JSON, then as many raw bytes as its `bytes` says. A request has an `id` and what to
`do`; its answer has the same `id`. What is sent unasked is an `event` of a child.

It is the parent of the workers. When its input ends, or is silent for `SILENCE_S`, it ends them all, stopped ones too,
gives the lease back and ends; when it is killed itself, the kernel ends them (prctl PR_SET_PDEATHSIG in the worker).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from testbed.steward.children import Children
from testbed.steward.inbox import Inbox, Over
from testbed.steward.interpreter import interpreter
from testbed.steward.kept import left_changed
from testbed.steward.lease import MACHINE_WIDE, RENEW_S, Lease, LeaseHeld, boot_id
from testbed.steward.processes import end
from testbed.steward.store import CHUNK, Store, StoreError


class Steward:
    """One conversation."""

    def __init__(self) -> None:
        self._inbox = Inbox(0)
        self._children = Children(self._send)
        self._lease: Lease | None = None
        self._renewal_s = 0.0
        self._root = Path()
        self._store: Store
        self._requests: dict[str, Callable[[dict[str, Any]], Any]] = {
            "open": self._open,
            "files": self._files,
            "folder": self._folder,
            "put": self._put,
            "unpack": lambda request: str(self._store.unpack(request["sha256"])),
            "environment": self._environment,
            "start": self._start,
            "close": lambda request: self._children.close(request["child"]),
            "signal": lambda request: self._children.signal(request["child"], request["number"]),
            "kill": lambda request: self._children.kill(request["child"]),
            "list": self._list,
            "remove": self._remove,
            "drop_unused": lambda request: self._store.drop_unused(),
            "clean": self._clean,
            "beat": lambda request: None,
            "bye": lambda request: self._end(),
        }

    def serve(self) -> None:
        """Answer requests until there is nobody left; then leave nothing running."""
        try:
            while True:
                self._renew()
                while (line := self._inbox.line()) is not None:
                    self._answer(json.loads(line))
                self._wait()
        except (Over, LeaseHeld, OSError) as error:
            print(f"testbed.steward: {error}", file=sys.stderr)
        finally:
            signal.alarm(0)
            self._end()

    def _wait(self) -> None:
        timeout_s = max(0.0, self._renewal_s - time.monotonic()) if self._lease else None
        if self._children.wait(0, timeout_s):
            self._inbox.absorb(0)

    def _answer(self, request: dict[str, Any]) -> None:
        number, do = request["id"], request["do"]
        try:
            if do == "get":
                self._get(request)
                return
            answer = {"id": number, "answer": self._requests[do](request)}
        except OSError as error:
            where = error.filename2 or error.filename
            answer = {"id": number, "error": f"{error.strerror}: {where}" if where else f"{error.strerror}"}
            if do == "open" or error.errno in (*_FULL, *_CLOSED, errno.EIO):
                answer |= {"folder": str(self._root), "how": _how(error.errno)}
        except (LeaseHeld, StoreError, ImportError, metadata.PackageNotFoundError) as error:
            answer = {"id": number, "error": str(error)}
        self._send(answer)

    def _send(self, message: dict[str, Any], data: bytes = b"") -> None:
        view = memoryview(json.dumps(message).encode() + b"\n" + data)
        while view:
            view = view[os.write(1, view[:CHUNK]) :]
            self._inbox.absorb(0)  # a long answer must not look like a silent workstation

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take the lease, end what an older run left, say what is here."""
        usual = Path("~/.cache/neucodex")
        folder = Path(request["folder"] or usual)
        try:
            self._root = folder.expanduser().absolute()
        except RuntimeError as error:
            raise StoreError(f"nobody there has the home folder of {folder}; name another `folder:`") from error
        ahead_s = request["now_s"] - _passed_s()
        self._store = Store(self._root, self._listen, lambda: ahead_s + _passed_s())
        # One folder has one lease, also where a profile names the usual one.
        usually = self._root.resolve() == usual.expanduser().resolve()
        shared = [path for path in MACHINE_WIDE if os.access(path, os.W_OK)] if usually else []
        path = (shared or [self._root])[0] / "neucodex.lease"
        lease = Lease(path, **request["claim"])
        try:
            before = lease.take()
        except OSError as error:
            if not shared:  # it lies in a folder that the answer is about
                raise
            said = f"the lease {path} cannot be taken ({error.strerror}); every user must be able to write that file"
            raise StoreError(said) from error
        self._lease, self._renewal_s = lease, time.monotonic() + RENEW_S
        older = {f"{path.parent.name}/{path.name}" for path in (self._store.root / "runs").glob("*/*")}
        if before is not None:  # its steward too, if that is stuck
            older.add(f"{before['campaign']}.{request['node']}")
        stale = end(older)
        return {
            "stale": stale,
            "boot_id": boot_id(),
            "root": str(self._store.root),
            "free_bytes": self._store.free_bytes,
            "lacking": self._store.lacking(request["files"]),
            **interpreter(request["packages"]),
            "noexec": bool(os.statvfs(self._root).f_flag & os.ST_NOEXEC),
            "environments": sorted(path.name for path in (self._store.root / "environments").iterdir()),
        }

    def _files(self, request: dict[str, Any]) -> list[str]:
        return self._store.lacking(request["files"])

    def _folder(self, request: dict[str, Any]) -> str | None:
        """A folder by digest, made of `files` where they are given."""
        digest = request["digest"]
        target = self._store.assemble(digest, request["files"]) if "files" in request else self._store.folder(digest)
        return None if target is None else str(target)

    def _put(self, request: dict[str, Any]) -> None:
        self._store.put(request["sha256"], request["bytes"], self._inbox.read)

    def _environment(self, request: dict[str, Any]) -> str:
        """A virtual environment, filled by `commands` of its Python; `{wheels}` stands for its folder of wheels."""
        interpreter = self._store.interpreter(request["key"])
        if interpreter is not None:
            return str(interpreter)

        def fill(part: Path) -> None:
            python = str(part / "bin" / "python")
            for command in request["commands"]:
                self._run_command([python, *(word.replace("{wheels}", str(part / "wheels")) for word in command)])

        return str(self._store.environment(request["key"], request["wheels"], fill))

    def _run_command(self, command: list[str]) -> None:
        """Run a command to its end, still listening.

        Raises:
            StoreError: it failed; with the last line that it wrote.
        """
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert process.stdout is not None  # noqa: S101  (asked for above)
        output = b""
        try:
            while True:
                output_fd = process.stdout.fileno()
                readable, _, _ = select.select([output_fd, 0], [], [], RENEW_S)
                self._renew()
                if 0 in readable:
                    self._inbox.absorb(0)
                if output_fd in readable:
                    data = os.read(output_fd, CHUNK)
                    if not data:
                        break
                    output += data
        except BaseException:
            process.kill()
            raise
        if process.wait():
            lines = output.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            said = re.search(r"\[Errno (\d+)\]", lines[-1])
            if said and int(said[1]) in _FULL:  # in the folder where it was to install
                raise OSError(int(said[1]), os.strerror(int(said[1])), str(self._root))
            raise StoreError(lines[-1])

    def _start(self, request: dict[str, Any]) -> int:
        """Start a worker; the request's bytes are the first thing on its standard input."""
        first = self._inbox.exactly(request["bytes"])
        # Its folder is how the next contact knows of it, should this steward not get to end it.
        folder = self._recorded(request)
        folder.mkdir(parents=True, exist_ok=True)
        self._store.kept.used(folder.parent)
        tag = f"{request['run']}/{request['node']}"
        return self._children.start(tag, folder, request["command"], request["environment"], first)

    def _list(self, request: dict[str, Any]) -> list[str]:
        """The files that a worker recorded, after whatever is left of it was ended."""
        end({f"{request['run']}/{request['node']}"})
        folder = self._recorded(request)
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def _get(self, request: dict[str, Any]) -> None:
        path = self._recorded(request) / request["name"]
        self._send({"id": request["id"], "answer": None, "bytes": path.stat().st_size}, path.read_bytes())

    def _remove(self, request: dict[str, Any]) -> None:
        """Remove what was fetched; the run's folder too when nothing else is in it."""
        folder = self._recorded(request)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):  # not there, or not empty
            folder.rmdir()
            folder.parent.rmdir()
        with contextlib.suppress(FileNotFoundError):  # where another's record is still in it
            self._store.kept.used(folder.parent)

    def _clean(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove all that is kept; what lost runs recorded only where `runs` says so."""
        removed, lost = self._store.clear(runs=request["runs"])
        changed = left_changed(Path(request["root"]))
        lost_bytes = [[str(folder), size] for folder, size in lost.items()]
        return {"root": str(self._store.root), "removed": removed, "lost": lost_bytes, "changed": changed}

    def _listen(self) -> None:
        self._renew()
        self._inbox.absorb(0)

    def _recorded(self, request: dict[str, Any]) -> Path:
        return self._store.root / "runs" / str(request["run"]) / str(request["node"])

    def _renew(self) -> None:
        """Renew the lease when it is time.

        Raises:
            LeaseHeld: it had expired, as after a long sleep, and somebody else has it.
        """
        if self._lease is not None and time.monotonic() >= self._renewal_s:
            self._lease.take()
            self._renewal_s = time.monotonic() + RENEW_S

    def _end(self) -> None:
        """End the workers, then give the lease back."""
        self._children.end()
        if self._lease is not None:
            with contextlib.suppress(OSError):  # a disk that cannot be written any more: it ends by itself
                self._lease.release()


def _passed_s() -> float:
    """A clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def _how(number: int | None) -> str:
    """What to do about a folder for which the kernel gave this error."""
    if number in _FULL:
        return "make room there"
    return "see what `dmesg` says of that disk" if number == errno.EIO else "let the user that logs in write there"


def main() -> int:
    """Serve until the workstation is gone. `--run` on the command line is for `processes` alone."""
    Steward().serve()
    return 0
