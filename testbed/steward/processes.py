"""Processes of a run: found by its id, never by a process id that may be another's by now.

A tag is RUN/ROLE of a worker and of whatever it starts, or the run of a steward.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

RUN_VARIABLE = "NEUCODEX_RUN"
"""Set for every worker, and so inherited by its power sampler and whatever else it starts."""

_MODULES = {"testbed.worker", "testbed.steward.service"}


def tagged(tags: Collection[str]) -> list[int]:
    """This user's processes with one of the tags, other than this one."""
    variables = {f"{RUN_VARIABLE}={tag}" for tag in tags}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if folder.stat().st_uid != os.geteuid():
                continue
            words = _strings(folder / "cmdline")
            if _tag(words) in tags or not variables.isdisjoint(_strings(folder / "environ")):
                found.append(int(folder.name))
    return found


def _tag(words: list[str]) -> str | None:
    """The tag that a command line shows."""
    if _MODULES.isdisjoint(words):
        return None
    after = dict(pairwise(words))
    return "/".join(after[option] for option in ("--run", "--node") if option in after)


def _strings(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\0")


def end(tags: Collection[str], seconds: float = 5.0) -> list[int]:
    """Kill every process with one of the tags, stopped ones too; returns the process ids that there were."""
    if not tags:
        return []
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while (left := tagged(tags)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended.update(left)
        time.sleep(0.02)
    return sorted(ended)
