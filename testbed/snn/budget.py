"""How long a training may take, where a machine is lent for some minutes or a batch system ends jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

from testbed.errors import TestbedError


class OutOfTimeError(TestbedError):
    """The next epoch would not be done in time. What was trained is kept."""


class Budget:
    """Minutes from now on; None: as many as it takes. The clock gives seconds."""

    def __init__(self, minutes: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = None if minutes is None else clock() + 60 * minutes

    def allows(self, seconds: float) -> bool:
        """Whether something that takes so long can still be done."""
        return self._ends is None or self._clock() + seconds <= self._ends
