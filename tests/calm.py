"""Real time on a machine that others use too: a stall spoils a try, and what is broken spoils all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable


def in_a_calm_moment(holds: Callable[[], None], tries: int = 25) -> None:
    """Ask again what a busy machine can only disturb, until it holds; the last try's failure counts."""
    for _ in range(tries - 1):
        with contextlib.suppress(AssertionError):
            return holds()
    return holds()
