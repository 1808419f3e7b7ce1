"""A machine as its files and its commands, so that another one can be put in its place."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devices.base.errors import DeviceError

COMMAND_TIMEOUT_S = 30.0
SUDO_GRUMBLES = re.compile(r"^sudo: unable to resolve host .*\n?", re.MULTILINE)
SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Where `nvpmodel` lies: not on the PATH of every login over SSH."""


class NeedsRootError(DeviceError):
    """Something can be done by root alone, and this process neither is root nor may become it."""


class Finished(NamedTuple):
    """How a command ended; `output` is its standard output and error together."""

    code: int
    output: str


class Machine:
    """The machine that this process runs on.

    Args:
        root: where /proc, /sys and /etc are looked for; commands are found on PATH, whatever the root.
        is_root: whether this process may do everything; None: ask the kernel.
    """

    def __init__(self, root: Path = Path("/"), is_root: bool | None = None) -> None:
        self.root = root
        self.is_root = os.geteuid() == 0 if is_root is None else is_root

    def path(self, name: str) -> Path:
        """The file that is `name` on this machine (an absolute path, or one relative to its root)."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """A file's text without the blanks around it; None if there is none, or nothing can be read."""
        return read(self.path(name))

    def glob(self, pattern: str) -> list[Path]:
        """Existing files that match, sorted."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def command(self, name: str) -> str | None:
        """Where a command lies, or None."""
        return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_FOLDERS]))

    def run(self, *argv: str, as_root: bool = False, answer: str = "") -> Finished:
        """Run a command to its end; `answer` is what it reads.

        Raises:
            DeviceError: it is not there, or does not end.
            NeedsRootError: `as_root`, and sudo wants a password.
        """
        found = self.command(argv[0])
        if found is None:
            raise DeviceError(f"{argv[0]}: no such command on this machine")
        prefix = self._sudo(argv[0]) if as_root and not self.is_root else []
        try:
            done = subprocess.run(
                [*prefix, found, *argv[1:]],
                input=answer.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{' '.join(argv)}: not done after {COMMAND_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise DeviceError(f"{' '.join(argv)}: cannot be run: {error.strerror}") from error
        output = done.stdout.decode(errors="replace").strip()
        if prefix:
            # A host name that is not in /etc/hosts; sudo runs the command all the same.
            output = SUDO_GRUMBLES.sub("", output).strip()
        if prefix and done.returncode == 1 and output.startswith("sudo:"):
            raise NeedsRootError(needs_root(f"`{' '.join(argv)}`", argv[0]))
        return Finished(done.returncode, output)

    def write(self, name: str, text: str) -> None:
        """Write a file of /sys or /proc.

        Raises:
            DeviceError: it cannot be written, or the kernel refuses the value.
            NeedsRootError: root alone may write it.
        """
        path = self.path(name)
        try:
            path.write_text(text)
        except PermissionError:
            if self.is_root:
                raise DeviceError(f"{path}: cannot be written: permission denied, even to root") from None
            done = self.run("tee", str(path), as_root=True, answer=text)
            if done.code != 0:
                raise DeviceError(f"{path}: cannot be written: {done.output}") from None
        except OSError as error:
            raise DeviceError(f"{path}: {text!r} cannot be written: {error.strerror}") from error

    def may_run_as_root(self, name: str) -> bool:
        """Whether a command can be run as root without a password, without running it."""
        if self.is_root:
            return True
        sudo, found = self.command("sudo"), self.command(name)
        if sudo is None or found is None:
            return False
        return self.run("sudo", "-n", "-l", found).code == 0

    def _sudo(self, name: str) -> list[str]:
        sudo = self.command("sudo")
        if sudo is None:
            raise NeedsRootError(needs_root(f"`{name}`", name))
        return [sudo, "-n"]


def needs_root(what: str, command: str) -> str:
    """What to tell a user who is not root."""
    return (
        f"{what} needs root, and {_user()} is not: connect as root, or let this user run {command} without a "
        "password (docs/hardware.md, sudoers)"
    )


def read(path: Path) -> str | None:
    """A file's text without the blanks around it; None if there is none, or nothing can be read."""
    try:
        # Device-tree strings end with a NUL.
        text = path.read_text(errors="replace").rstrip("\0").strip()
    except OSError:
        return None
    return text or None


def read_int(path: Path) -> int | None:
    """A file's whole number; None if there is none."""
    try:
        return int(read(path) or "")
    except ValueError:
        return None


def last_line(output: str, otherwise: Sequence[str] = ("no word",)) -> str:
    """The last line that a command printed."""
    return (output.splitlines() or list(otherwise))[-1].strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"
