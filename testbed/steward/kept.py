"""What the testbed keeps in a folder goes again: by itself once nothing has used it for long, or all of it when asked.

When something was last used is its modification time, by the clock of whoever asks: a board without a battery starts
in 1970, and what it wrote there would look old as soon as its own clock is set.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

UNUSED_DAYS = 30
"""Whatever no campaign has used for so many days goes by itself."""

CODES = 3
"""How many versions of the testbed's own code stay, the latest used."""

PART = ".part"
"""Ends the name of what is not whole: it was never finished, or is being removed."""

_DAY_S = 86400.0
_SET_S = 1577836800.0
"""2020-01-01: a clock that is earlier was never set."""


class Gone(NamedTuple):
    """How many things of a kind were removed, and the room that this made."""

    things: int
    size_bytes: int


class Kept:
    """A folder with a folder for each kind of thing. Nobody else may use what is in it while things are removed.

    `now` is the time in seconds since 1970. `listen` is called now and then, since a memory card can take long.
    """

    def __init__(
        self, root: Path, now: Callable[[], float] = time.time, listen: Callable[[], None] = lambda: None
    ) -> None:
        self.root, self._now, self._listen = root, now, listen

    def used(self, path: Path) -> None:
        """Note that something is used now."""
        os.utime(path, (self._now(), self._now()))

    def drop_unused(self, kinds: Sequence[str], most: Mapping[str, int] | None = None) -> dict[str, Gone]:
        """Remove what was left half made, what is unused for long, and the oldest where there are more than `most`.

        Returns:
            What went, by kind.
        """
        found = {}
        for kind in kinds:
            paths = sorted(self._in(kind), key=self._used_s, reverse=True)
            half = [path for path in paths if path.name.endswith(PART)]
            whole = [path for path in paths if path not in half]
            recent = [path for path in whole if self._now() - self._used_s(path) < UNUSED_DAYS * _DAY_S]
            recent = recent[: (most or {}).get(kind)]
            # A file that is linked from elsewhere takes no room of its own.
            old = [path for path in whole if path not in recent and (path.is_dir() or path.stat().st_nlink == 1)]
            found[kind] = self._gone([*half, *old])
        return {kind: gone for kind, gone in found.items() if gone.things}

    def clear(self, kinds: Sequence[str]) -> dict[str, Gone]:
        """Remove all things of some kinds, and the folders that are empty then; returns what went, by kind."""
        found = {kind: self._gone(self._in(kind)) for kind in kinds}
        for folder in (*(self.root / kind for kind in kinds), self.root):
            with contextlib.suppress(OSError):  # not there, or something else is in it
                folder.rmdir()
        return {kind: gone for kind, gone in found.items() if gone.things}

    def _in(self, kind: str) -> list[Path]:
        folder = self.root / kind
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _used_s(self, path: Path) -> float:
        used_s = path.lstat().st_mtime
        if used_s < _SET_S:
            self.used(path)
            return self._now()
        return used_s

    def _gone(self, paths: Sequence[Path]) -> Gone:
        return Gone(len(paths), sum(map(self.remove, paths)))

    def remove(self, path: Path) -> int:
        """Remove a file or a folder; returns the bytes that this frees. One that is half removed no longer counts."""
        if path.is_symlink() or not path.is_dir():
            return _unlink(path)
        if not path.name.endswith(PART):
            path = path.rename(path.with_name(f"{path.name}.{os.getpid()}{PART}"))
        freed = 0
        for place, folders, files in os.walk(path, topdown=False):
            self._listen()
            freed += sum(_unlink(Path(place, name)) for name in files)
            for each in (Path(place, name) for name in folders):
                if each.is_symlink():
                    freed += _unlink(each)
                else:
                    each.rmdir()
        path.rmdir()
        return freed


def left_changed(root: Path) -> list[str]:
    """Undo journals of settings that an earlier run left on this machine, each with whose it is; they are not touched.

    Args:
        root: as in the node's profile: anything but / is a made-up tree.
    """
    home = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "neucodex-testbed"
    folder = home if root == Path("/") else root / "var/lib/neucodex-testbed"
    return [f"{path} ({_owner(path)})" for path in sorted(folder.glob("*.journal"))]


def _owner(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes().partition(b"\n")[0])["owner"])
    except (OSError, ValueError, LookupError, TypeError):
        return "whose it is cannot be read"


def _unlink(path: Path) -> int:
    """Remove a file; returns its size where this was its last name."""
    seen = path.lstat()
    path.unlink()
    return seen.st_size if seen.st_nlink == 1 else 0
