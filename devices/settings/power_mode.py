"""A Jetson's power mode (nvpmodel)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices import jetson
from devices.base.errors import DeviceError
from devices.machine import Machine
from devices.profile import Settings
from devices.settings.setting import Record, check_command

KIND = "nvpmodel"
SURVIVES_REBOOT = True  # nvpmodel keeps its mode in /var/lib/nvpmodel and sets it again at boot


def wanted(settings: Settings) -> str | None:
    """Such as `nvpmodel MAXN`."""
    return None if settings.nvpmodel is None else f"nvpmodel {settings.nvpmodel}"


def make(machine: Machine, settings: Settings, record: Record) -> None:
    """Change to the mode, where it is another."""
    mode, now = _find(machine, settings), jetson.power_mode(machine)
    if now.id != mode.id:
        record(KIND, "", f"power mode {now} → {mode}", now._asdict())
        jetson.set_power_mode(machine, mode)


def undo(machine: Machine, before: Mapping[str, Any]) -> None:
    """Change back."""
    mode = jetson.PowerMode(int(before["id"]), str(before["name"]))
    if jetson.power_mode(machine).id != mode.id:
        jetson.set_power_mode(machine, mode)


def check(machine: Machine, settings: Settings) -> None:
    """There is such a mode, and it needs no reboot."""
    mode, now = _find(machine, settings), jetson.power_mode(machine)
    if mode.id != now.id:
        check_command(machine, "nvpmodel")
        if jetson.gates_differ(machine, now, mode):
            raise DeviceError(
                f"from {now} to {mode} other clusters of the GPU are powered, which usually needs a reboot, and the "
                f"testbed never reboots a board; try `sudo nvpmodel -m {mode.id}` on it"
            )


def _find(machine: Machine, settings: Settings) -> jetson.PowerMode:
    assert settings.nvpmodel is not None  # noqa: S101  (asked by `wanted`)
    return jetson.find_mode(machine, settings.nvpmodel)
