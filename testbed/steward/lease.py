"""One node serves one campaign at a time: the lease says whose it is and until when.

One file that is never removed and only changed under `flock`, so that taking it is atomic also between users. Time is
the node's CLOCK_BOOTTIME beside its boot id: a wall clock that is set, as on boards without a battery, moves no
expiry, and a reboot ends every lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TTL_S = 60.0
RENEW_S = 15.0
MACHINE_WIDE = (Path("/run/lock"), Path("/tmp"))  # noqa: S108  (where every user of the machine sees it)
_SIZE = 1024  # always so long, so that renewing needs no space on a full disk


class LeaseHeld(Exception):  # noqa: N818
    """Another campaign has the node; the message says whose and until when."""


def boot_id() -> str:
    """Which boot of which machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Lease:
    """A claim on the node: `owner` (user@host), `experiment` and `campaign`, which the claim is told apart by."""

    def __init__(self, path: Path, owner: str, experiment: str, campaign: str, ttl_s: float = TTL_S) -> None:
        self._path, self._ttl_s = path, ttl_s
        self._claim = {"owner": owner, "experiment": experiment, "campaign": campaign, "since": _wall(0)}
        # A connection that was lost may still be giving its lease back when the next one of its campaign has it.
        self._claim["holder"] = f"{os.getpid()}.{time.monotonic_ns()}"

    def take(self) -> dict[str, Any] | None:
        """Take or renew it; returns the claim that was there before, which had expired or was this campaign's.

        Raises:
            LeaseHeld: another campaign has it.
            OSError: the file cannot be written.
        """
        with self._locked() as file:
            before = _read(file)
            if before is not None and before["campaign"] != self._claim["campaign"] and _lasts(before):
                raise LeaseHeld(
                    f"in use by {before['owner']} (experiment {before['experiment']}, since {before['since']}); the "
                    f"lease {self._path} ends at {before['until']} unless it is renewed"
                )
            expiry = {"boot": boot_id(), "until_s": _now_s() + self._ttl_s, "until": _wall(self._ttl_s)}
            os.pwrite(file, json.dumps(self._claim | expiry).encode().ljust(_SIZE), 0)
            return before

    def release(self) -> None:
        """Give it back, if it is still ours."""
        with self._locked() as file:
            before = _read(file)
            if before is not None and before["holder"] == self._claim["holder"]:
                os.pwrite(file, b" " * _SIZE, 0)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            # Not O_CREAT alone: in a sticky folder the kernel refuses it for a file of somebody else.
            with contextlib.suppress(FileNotFoundError):
                return os.open(self._path, flags)
            with contextlib.suppress(FileExistsError):
                file = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(file, 0o666)
                return file


def _read(file: int) -> dict[str, Any] | None:
    try:
        claim = json.loads(os.pread(file, 2 * _SIZE, 0))
    except ValueError:
        return None  # given back, or never whole
    wanted = {"owner", "experiment", "campaign", "since", "holder", "boot", "until", "until_s"}
    return claim if isinstance(claim, dict) and wanted <= claim.keys() else None


def _lasts(claim: dict[str, Any]) -> bool:
    return bool(claim["boot"] == boot_id() and claim["until_s"] > _now_s())


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wall(ahead_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + ahead_s))
