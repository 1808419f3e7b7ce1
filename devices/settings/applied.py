"""The settings of one run, made in their order and put back; and what earlier runs left behind."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.base.errors import DeviceError
from devices.board import boot_id
from devices.journal import Journal, Restoration, Undo, left_changed, restore_left_behind
from devices.machine import Machine
from devices.profile import Settings
from devices.settings import governor, gpu_clocks, jetson_clocks, power_mode, qdisc
from devices.settings.setting import Setting

# The power mode first: it limits the clocks and takes CPUs offline. They are undone in the other order.
SETTINGS: tuple[Setting, ...] = (power_mode, governor, jetson_clocks, gpu_clocks)
"""Every setting, in the order in which they are made."""


def state_folder(root: Path) -> Path:
    """Where a node keeps its undo journals: across reboots, and for a made-up tree inside that tree."""
    if root != Path("/"):
        return root / "var/lib/neucodex-testbed"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "neucodex-testbed"


def undos(machine: Machine) -> dict[str, Undo]:
    """What undoes each kind of change that is made here."""
    made = {
        setting.KIND: Undo(functools.partial(setting.undo, machine), setting.SURVIVES_REBOOT) for setting in SETTINGS
    }
    # Queues are asked for by a link and not by a profile, but whoever finds them left behind puts them back too.
    return {**made, qdisc.KIND: Undo(functools.partial(qdisc.undo, machine), qdisc.SURVIVES_REBOOT)}


def put_back_left_behind(machine: Machine) -> list[Restoration]:
    """Undo what earlier runs left changed on this machine; see `restore_left_behind`."""
    return restore_left_behind(state_folder(machine.root), undos(machine), boot_id(machine))


def put_back(machine: Machine) -> list[str]:
    """Like `put_back_left_behind`, for who wants nothing to be left: what was put back, in words.

    Raises:
        DeviceError: something stays changed.
    """
    found = put_back_left_behind(machine)
    if failed := [left_changed(one) for one in found if one.failed]:
        raise DeviceError("; ".join(failed))
    return [f"put back what {one.owner} left changed: {', '.join(one.restored)}" for one in found if one.restored]


class AppliedSettings:
    """The settings of one run, made on this machine; `restore` undoes them, from any thread.

    Raises:
        DeviceError: one could not be made. Those before it are undone.
    """

    def __init__(self, machine: Machine, settings: Settings, owner: str) -> None:
        self._journal = Journal(state_folder(machine.root), owner, boot_id(machine), undos(machine))
        self._lock = threading.Lock()
        self.changes: list[str] = []
        try:
            for setting in SETTINGS:
                if setting.wanted(settings) is not None:
                    setting.make(machine, settings, self._record)
        except DeviceError as error:
            try:
                self.restore()
            except DeviceError as left:
                raise DeviceError(f"{error}; {left}") from error
            raise

    def restore(self) -> list[str]:
        """Undo every change, in words; more than once does no harm.

        Raises:
            DeviceError: what stays changed, and why.
        """
        with self._lock:
            return self._journal.restore()

    def _record(self, kind: str, target: str, what: str, before: Mapping[str, Any]) -> None:
        self._journal.record(kind, target, what, dict(before))
        self.changes.append(what)


def unmet(machine: Machine, settings: Settings) -> dict[str, str | None]:
    """Of each setting that is wanted: why it could not be made (None: it could), without making it."""
    reasons: dict[str, str | None] = {}
    journal = state_folder(machine.root)
    there = next(path for path in (journal, *journal.parents) if os.access(path, os.F_OK))
    kept = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    for setting in SETTINGS:
        if (name := setting.wanted(settings)) is not None:
            try:
                setting.check(machine, settings)
                reasons[name] = None if kept else f"what undoes it cannot be written to {journal}"
            except DeviceError as error:
                reasons[name] = str(error)
    return reasons
