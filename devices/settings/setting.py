"""What the module of each setting has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from devices.base.errors import DeviceError
from devices.machine import Machine, NeedsRootError, needs_root
from devices.profile import Settings


class Record(Protocol):
    """Notes a change that is about to be made; see `devices.journal.Journal.record`."""

    def __call__(self, kind: str, target: str, what: str, before: Mapping[str, Any]) -> None:
        """Note it; on the disk when this returns."""


class Setting(Protocol):
    """One setting; `KIND` names its changes in the undo journal."""

    KIND: str
    SURVIVES_REBOOT: bool

    def wanted(self, settings: Settings) -> str | None:
        """What a profile wants of it, in words; None where it is left as it is."""

    def make(self, machine: Machine, settings: Settings, record: Record) -> None:
        """Record the change, make it, and see that it is so.

        Raises:
            DeviceError: it could not be made.
        """

    def undo(self, machine: Machine, before: Mapping[str, Any]) -> None:
        """Put back what was recorded; twice does no harm.

        Raises:
            DeviceError: it stays changed.
        """

    def check(self, machine: Machine, settings: Settings) -> None:
        """Find out, without making it, whether it could be made.

        Raises:
            DeviceError: it could not, and why.
        """


def check_command(machine: Machine, name: str) -> None:
    """Make sure that a command is there and may be run as root.

    Raises:
        DeviceError: it is not there.
        NeedsRootError: it may not.
    """
    if machine.command(name) is None:
        raise DeviceError(f"{name}: no such command on this machine")
    if not machine.may_run_as_root(name):
        raise NeedsRootError(needs_root("it", name))
