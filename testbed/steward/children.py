"""The workers that a steward is the parent of: started, listened to, and ended with it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.steward.processes import RUN_VARIABLE, end
from testbed.steward.store import CHUNK

GRACE_S = 2.0


class Children:
    """Workers by process id; `tell` is given the events of each: what it prints, and how it ended."""

    def __init__(self, tell: Callable[[dict[str, Any], bytes], None]) -> None:
        self._tell = tell
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._tags: set[str] = set()
        self._wakeup, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def start(
        self, tag: str, folder: Path, command: Sequence[str], environment: Mapping[str, str], first: bytes
    ) -> int:
        """Start a worker in a folder; `first` is the first thing on its standard input, which stays open."""
        self._tags.add(tag)
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            # Not the home folder: `python -m` looks for packages where it is started.
            cwd=folder,
            env={**os.environ, **environment, RUN_VARIABLE: tag},
        )
        assert child.stdin is not None and child.stdout is not None  # noqa: PT018, S101  (asked for above)
        os.set_blocking(child.stdout.fileno(), False)
        self._running[child.pid] = child
        with contextlib.suppress(BrokenPipeError):  # gone already: its exit code tells
            child.stdin.write(first)
        return child.pid

    def close(self, pid: int) -> None:
        """Close the standard input of one; nothing where there is no such child."""
        child = self._running.get(pid)
        if child is not None and child.stdin is not None:
            child.stdin.close()

    def kill(self, pid: int) -> None:
        """Kill one; nothing where there is no such child."""
        self.signal(pid, signal.SIGKILL)

    def signal(self, pid: int, number: int) -> None:
        """Send one a signal; nothing where there is no such child."""
        child = self._running.get(pid)
        if child is not None:
            child.send_signal(number)

    def wait(self, fd: int, timeout_s: float | None) -> bool:
        """Wait until `fd` can be read, a child prints or ends, or the timeout; tells what children did.

        Returns:
            Whether `fd` can be read.
        """
        outputs = {child.stdout.fileno(): pid for pid, child in self._running.items() if child.stdout}
        readable, _, _ = select.select([fd, self._wakeup, *outputs], [], [], timeout_s)
        for each in readable:
            if each == self._wakeup:
                os.read(self._wakeup, 4096)
            elif each != fd:
                self._forward(outputs[each])
        for pid, child in list(self._running.items()):
            if child.poll() is not None:
                # What it wrote last; no waiting for the pipe's end, which a sampler that outlives it holds open.
                while child.stdout and self._forward(pid):
                    pass
                del self._running[pid]
                self._tell({"event": "ended", "child": pid, "code": child.returncode}, b"")
        return fd in readable

    def end(self) -> None:
        """End all, gently where they react, and whatever they have started."""
        for child in self._running.values():
            if child.stdin is not None:
                child.stdin.close()
        deadline = time.monotonic() + GRACE_S
        while any(child.poll() is None for child in self._running.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        end(self._tags)

    def _forward(self, pid: int) -> bool:
        output = self._running[pid].stdout
        assert output is not None  # noqa: S101  (asked for in start)
        try:
            data = os.read(output.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if not data:
            output.close()
            self._running[pid].stdout = None
            return False
        self._tell({"event": "output", "child": pid, "bytes": len(data)}, data)
        return True
