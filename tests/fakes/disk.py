"""A disk of its own that can be filled, emptied and made read-only, where this process may mount one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE_BYTES = 4096


class SmallDisk:
    """A tmpfs of a few hundred KiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder.parent / folder.name / ".ballast"

    def fill(self, leave_pages: int = 0) -> None:
        """Take all the room there is but a few pages."""
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(PAGE_BYTES)):
                pass
        with self._ballast.open("r+b") as file:
            file.truncate(max(0, self._ballast.stat().st_size - leave_pages * PAGE_BYTES))

    def make_room(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def remount(self, how: str) -> None:
        """Such as `ro` and `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True, capture_output=True)


@contextlib.contextmanager
def small_disk(folder: Path, kib: int = 512) -> Iterator[SmallDisk]:
    """Mount one over a folder; without the right to, the test is skipped and says how it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip("needs to mount a tmpfs; run as root, or with: unshare -rm python -m pytest ...")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)
