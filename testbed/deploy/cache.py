"""What the workstation keeps: wheels for nodes, the testbed itself as zips, outputs of its own emulated nodes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from testbed.deploy.download import cache_folder, caching
from testbed.errors import DeployError
from testbed.steward.kept import CODES, UNUSED_DAYS, Gone, Kept

_LOG = logging.getLogger(__name__)
UNUSED = f"unused for {UNUSED_DAYS} days, half made or an older version"
"""Why something goes by itself."""

KINDS = ("wheels", "testbed", "outputs")


def in_words(removed: Mapping[str, Gone]) -> str:
    """What was removed, by kind, the largest first."""
    by_size = sorted(removed.items(), key=lambda item: -item[1].size_bytes)
    return ", ".join(f"{kind} {gone.size_bytes / 1e6:.1f} MB ({gone.things})" for kind, gone in by_size)


@contextlib.contextmanager
def in_use() -> Iterator[Path]:
    """The folder, from which nothing is removed meanwhile."""
    with _locked(fcntl.LOCK_SH):
        yield cache_folder()


def drop_unused() -> None:
    """Remove what no deployment has used for long, and what was left half made; nothing while the folder is in use."""
    try:
        with _locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            removed = Kept(cache_folder()).drop_unused(KINDS, {"testbed": CODES})
    except BlockingIOError:
        return
    except OSError as error:
        _LOG.warning("%s: cannot be removed though nothing uses it: %s", error.filename, error.strerror)
        return
    if removed:
        _LOG.info("removed from %s what is %s: %s", cache_folder(), UNUSED, in_words(removed))


def clear() -> dict[str, Gone]:
    """Remove all of it; returns what went, by kind.

    Raises:
        DeployError: somebody deploys from it.
    """
    if not cache_folder().exists():
        return {}
    try:
        with _locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return Kept(cache_folder()).clear(KINDS)
    except BlockingIOError:
        raise DeployError(
            f"{cache_folder()}: in use, as a node is being deployed to from it; clean again when that is done"
        ) from None


@contextlib.contextmanager
def _locked(how: int) -> Iterator[None]:
    with caching(cache_folder()):
        cache_folder().mkdir(parents=True, exist_ok=True)
        file = os.open(cache_folder() / ".lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)
