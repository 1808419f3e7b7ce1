"""Time that only goes on when somebody waits for it."""

from __future__ import annotations

import threading

from testbed.worker.arrivals import Clock

MS = 1_000_000


class VirtualClock(Clock):
    """A clock that goes on when somebody waits for it."""

    def __init__(self, t_ns: int = 5_000 * MS) -> None:
        self.t_ns = t_ns

    def now_ns(self) -> int:
        return self.t_ns

    def wait_until(self, t_ns: int, cancel: threading.Event) -> None:
        self.t_ns = max(self.t_ns, t_ns)
