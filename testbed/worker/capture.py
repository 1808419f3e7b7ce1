"""A packet capture of the data plane, by tcpdump in a process of its own: `data.pcap` beside the node's record."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from testbed.errors import WorkerError

FILE = "data.pcap"

SNAP_BYTES = 96
"""Of each packet: Ethernet, IPv4 and TCP headers with all options are 94 bytes, and what is sent stays out."""

START_S = 5.0
END_S = 2.0
SETTLE_S = 1.1
"""How long what the kernel saw last may wait for tcpdump, which before 4.99 fetches once a second."""

_ALSO_IN = "/usr/sbin:/usr/local/sbin:/sbin"  # not on every user's PATH
_COUNTS = re.compile(r"^(\d+) packets? (captured|dropped by kernel)", re.MULTILINE)


class Captured(NamedTuple):
    """How many packets are in the file, and how many the kernel had no room for."""

    packets: int
    dropped: int


class Capture:
    """Captures one TCP port on one interface (`any`: all) from when it is made until `close`.

    It ends with the thread that makes it, however that ends.
    """

    def __init__(self, folder: Path, interface: str, port: int, program: str = "tcpdump") -> None:
        """Begin; returns once packets are seen.

        Raises:
            WorkerError: tcpdump is not there, may not capture, or does not begin.
        """
        self.path = folder / FILE
        self._said = ""
        found = shutil.which(program) or shutil.which(program, path=_ALSO_IN)
        if found is None:
            raise WorkerError(f"a capture was asked for, and there is no tcpdump on this node; {_INSTALL}")
        # -p: the interface stays as it is. To standard output, since tcpdump gives up root before it opens a file.
        command = [found, "-i", interface, "-p", "-n", "-U", "-s", str(SNAP_BYTES), "-w", "-", "tcp", "port", str(port)]
        folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devices.tether", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        try:
            self._wait_until_it_listens(interface)
        except WorkerError:
            self._end()
            self.path.unlink(missing_ok=True)
            raise

    def check(self) -> None:
        """Make sure that it still captures.

        Raises:
            WorkerError: it ended, with what it said.
        """
        if self._process.poll() is not None:
            raise WorkerError(f"the capture into {self.path} ended before the measurement did: {self._last_words()}")

    def close(self) -> Captured | None:
        """End it once it has what was sent until now; None where it was closed before.

        Raises:
            WorkerError: it had ended, or does not say how much it captured.
        """
        if self._process.stderr is None or self._process.stderr.closed:
            return None
        try:
            self.check()
            time.sleep(SETTLE_S)
            self._process.terminate()
            self._read(END_S)
        finally:
            self._end()
        counts = {what: int(number) for number, what in _COUNTS.findall(self._said)}
        if set(counts) != {"captured", "dropped by kernel"}:
            raise WorkerError(f"{self.path}: tcpdump does not say how much it captured: {self._last_words()}")
        return Captured(counts["captured"], counts["dropped by kernel"])

    def _wait_until_it_listens(self, interface: str) -> None:
        end = time.monotonic() + START_S
        while "listening on" not in self._said:
            if not self._read(end - time.monotonic(), once=True):
                break
        else:
            return
        if self._process.poll() is None and time.monotonic() >= end:
            raise WorkerError(f"tcpdump did not begin to capture on {interface} within {START_S:g} s")
        words = self._last_words()
        hint = f"; {_PERMIT}" if "permi" in words.lower() or "root" in words.lower() else ""
        raise WorkerError(f"tcpdump cannot capture on {interface}: {words}{hint}")

    def _read(self, seconds: float, *, once: bool = False) -> bool:
        """Take in what it says for so long, or until it ends; returns whether there was something."""
        if self._process.stderr is None or self._process.stderr.closed:
            return False
        end, came = time.monotonic() + seconds, False
        while select.select([self._process.stderr], [], [], max(0.0, end - time.monotonic()))[0]:
            data = self._process.stderr.read(4096)
            if not data:
                break
            self._said, came = self._said + data.decode(errors="replace"), True
            if once:
                break
        return came

    def _last_words(self) -> str:
        self._read(0.5)
        lines = [line.strip() for line in self._said.splitlines() if line.strip()]
        if len(lines) > 1 and lines[-1].startswith("("):
            lines[-2:] = [f"{lines[-2]} {lines[-1]}"]  # the system's reason, on a line of its own
        return lines[-1] if lines else f"it ended with exit code {self._process.poll()} and no word"

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        if self._process.stderr is not None:
            self._process.stderr.close()


_INSTALL = "install it (sudo apt install tcpdump), or take `capture` out of the experiment"
_PERMIT = "sudo setcap cap_net_raw,cap_net_admin=eip $(which tcpdump) lets its users capture"
