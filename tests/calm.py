"""Real time on a machine that others use too: a stall spoils a try, and what is broken spoils all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable


def in_a_calm_moment(holds: Callable[[], None], tries: int = 25) -> None:
    """Ask again what a busy machine can only disturb, until it holds; the last try's failure counts."""
    for _ in range(tries - 1):
        with contextlib.suppress(AssertionError):
            return holds()
    return holds()


class Stalls:
    """How long this process stood still, at the longest, while it was inside: a thread looks every few milliseconds."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        before_ns = time.monotonic_ns()
        while not self._over.wait(0.002):
            now_ns = time.monotonic_ns()
            self.longest_ms = max(self.longest_ms, (now_ns - before_ns) / 1e6)
            before_ns = now_ns
