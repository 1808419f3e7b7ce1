"""Who has to be on time comes before whatever else a machine does, as far as that is allowed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FIRST = -20
"""The least niceness there is (nice(7)). On a virtual machine of two cores, one of them kept busy, an echo that is slow
in one of a hundred cases took 1.5 to 5.9 ms without it and 0.2 ms with it. Its median stayed."""


def come_first() -> int:
    """Have all threads of this process run before others', which takes root or CAP_SYS_NICE; returns their niceness."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(PermissionError, ProcessLookupError):  # not allowed, or ended meanwhile
            os.setpriority(os.PRIO_PROCESS, int(thread.name), FIRST)
    return os.getpriority(os.PRIO_PROCESS, 0)
