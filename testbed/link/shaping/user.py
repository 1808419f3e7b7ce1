"""The shaper that needs no rights: a process in the data path, beside the cloud's worker."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from devices.links.conditions import Link
from testbed.errors import LinkError
from testbed.link.shaping.shaper import Disturbance, Shaping
from testbed.link.shaping.talk import Arm, Disturb, Done, Order, Ready, Refused, ShaperRow, Start, Word

ANSWER_S = 20.0
"""How long the process may take to start or to answer, on a machine that is busy."""

_END_S = 5.0
_STDERR_BYTES = 1 << 16


class UserShaper:
    """Starts the process and speaks to it. The cloud's worker makes one for each repeat whose link is shaped so.

    The cloud's own data plane listens on loopback (`DataServer("127.0.0.1", 0, …)`), the shaper on the profile's
    `address` and `data_port`, and edges are told `endpoint`:

        shaper = UserShaper(load.link, server.endpoint, load.profile.address, load.profile.data_port, on_row)
        loaded = Loaded(data_endpoint=shaper.endpoint, …)   # instead of server.endpoint
        shaper.arm()                                        # after warming up: moment 0 is the next bytes from an edge
        shaper.disturb(Disturbance(rate=0.1))               # a fault; Disturbance() ends it
        shaper.check()                                      # now and then, and before the repeat counts
        shaper.close()                                      # before server.close()

    Only one row in 50 ms comes to `on_row`, from a thread of this object's own. That thread also tells `on_fault` what
    `check` raises: that the process ended, or that `on_row` failed. To be made by a thread that lives as long as the
    shaper: the kernel ends the process with the thread that started it.

    Attributes:
        shaping: "user".
        endpoint: where edges connect.
    """

    shaping: Shaping = "user"

    def __init__(
        self,
        link: Link,
        cloud_endpoint: str,
        address: str,
        port: int,
        on_row: Callable[[ShaperRow], None],
        on_fault: Callable[[LinkError], None] = lambda error: None,
    ) -> None:
        """Start it, and wait until it listens.

        Raises:
            LinkError: it cannot listen there, or did not start.
        """
        host = f"[{address}]" if ":" in address else address
        self.endpoint: str | None = None
        self._name = f"the shaper of link {link.name} at {host}:{port}"
        self._on_row, self._on_fault = on_row, on_fault
        self._fault: LinkError | None = None
        self._closing = False
        self._answers: queue.SimpleQueue[Ready | Refused | Done | None] = queue.SimpleQueue()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devices.tether", str(os.getpid()), sys.executable, "-m", "testbed.link.shaping"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._thread = threading.Thread(target=self._listen, name="shaper", daemon=True)
        self._thread.start()
        cloud = urlsplit(cloud_endpoint)
        try:
            start = Start(
                link=link, address=address, port=port, cloud_host=cloud.hostname or "", cloud_port=cloud.port or 0
            )
            self._write(start)
            answer = self._answer()
            if isinstance(answer, Refused):
                raise LinkError(
                    f"{self._name}: cannot listen there: {answer.reason}; free the port, set data_port: 0, or correct "
                    "`address` in the cloud's profile"
                )
        except LinkError:
            self.close()
            raise
        if isinstance(answer, Ready):
            self.endpoint = f"tcp://{host}:{answer.port}"

    def arm(self) -> None:
        """Begin the link's time anew: its moment 0 is when the next bytes come from an edge.

        Raises:
            LinkError: the shaper is gone.
        """
        self._order(Arm())

    def disturb(self, disturbance: Disturbance) -> None:
        """Replace the present disturbance, now.

        Raises:
            LinkError: the shaper is gone, or there is no such disturbance.
        """
        if not 0 < disturbance.rate <= 1 or not 0 <= disturbance.delay_ms <= 60_000:
            raise LinkError(f"{disturbance}: a rate lies above 0 and up to 1, a delay from 0 to 60,000 ms")
        self._order(Disturb(disturbance))

    def check(self) -> None:
        """Make sure that it still shapes.

        Raises:
            LinkError: it ended, with what it said; or its rows could not be kept.
        """
        if self._fault is not None:
            raise self._fault
        if self._process.poll() is not None:
            raise self._gone()

    def close(self) -> None:
        """End the process; more than once does no harm."""
        if self._stderr.closed:
            return
        self._closing = True
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  (asked for above)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._process.stdout.close()
        self._stderr.close()

    def _order(self, order: Order) -> None:
        self._write(order)
        self._answer()

    def _write(self, message: Start | Order) -> None:
        assert self._process.stdin is not None  # noqa: S101  (asked for above)
        try:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _answer(self) -> Ready | Refused | Done:
        try:
            answer = self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            raise LinkError(f"{self._name}: did not answer within {ANSWER_S:g} s") from None
        if answer is None:
            raise self._gone()
        return answer

    def _gone(self) -> LinkError:
        if self._stderr.closed:
            return LinkError(f"{self._name}: it is closed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        said = os.pread(self._stderr.fileno(), _STDERR_BYTES, 0)  # two threads may ask
        lines = said.decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        return LinkError(f"{self._name}: it ended with exit code {self._process.returncode}: {last}")

    def _listen(self) -> None:
        """Take what the process says, until it ends."""
        assert self._process.stdout is not None  # noqa: S101  (asked for above)
        for line in self._process.stdout:
            word = msgspec.json.decode(line, type=Word)
            if not isinstance(word, ShaperRow):
                self._answers.put(word)
            elif self._fault is None:
                try:
                    self._on_row(word)
                except Exception as error:  # the shaper goes on
                    self._fault = LinkError(f"{self._name}: its counters could not be kept: {error}")
                    self._on_fault(self._fault)
        self._answers.put(None)
        if self.endpoint is not None and not self._closing:
            self._on_fault(self._gone())
