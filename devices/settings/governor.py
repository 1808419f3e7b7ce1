"""The CPUs' frequency governor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from devices.base.errors import DeviceError
from devices.clocks import per_cpu
from devices.machine import Machine
from devices.profile import Settings
from devices.settings.setting import Record, check_command

KIND = "cpu_governor"
SURVIVES_REBOOT = False


def wanted(settings: Settings) -> str | None:
    """Such as `cpu_governor performance`."""
    return None if settings.cpu_governor is None else f"cpu_governor {settings.cpu_governor}"


def make(machine: Machine, settings: Settings, record: Record) -> None:
    """Set it for every CPU, where one has another."""
    try:
        now, name = _governors(machine, settings)
    except DeviceError as error:
        raise DeviceError(f"{wanted(settings)}: {error}") from error
    if set(now.values()) != {name}:
        record(KIND, "", f"CPU governor {', '.join(sorted(set(now.values())))} → {name}", {"governors": now})
        _write(machine, dict.fromkeys(now, name))


def undo(machine: Machine, before: Mapping[str, Any]) -> None:
    """Give each CPU its own again."""
    _write(machine, before["governors"])


def check(machine: Machine, settings: Settings) -> None:
    """Every CPU has it, and the files may be written."""
    now, _ = _governors(machine, settings)
    if not all(os.access(machine.path(_file(cpu)), os.W_OK) for cpu in now):
        check_command(machine, "tee")


def _governors(machine: Machine, settings: Settings) -> tuple[dict[str, str], str]:
    """The governor that each CPU has, and the one that all can have and shall."""
    assert settings.cpu_governor is not None  # noqa: S101  (asked by `wanted`)
    now = per_cpu(machine, "scaling_governor")
    if not now:
        raise DeviceError("this machine has no cpufreq governor to set")
    for cpu, allowed in per_cpu(machine, "scaling_available_governors").items():
        if settings.cpu_governor not in allowed.split():
            raise DeviceError(f"{cpu} has {', '.join(allowed.split())}")
    return now, settings.cpu_governor


def _write(machine: Machine, governors: Mapping[str, str]) -> None:
    for cpu, governor in governors.items():
        # CPUs share a policy, so one write may have set them all.
        if machine.text(_file(cpu)) != governor:
            machine.write(_file(cpu), governor)
        if (now := machine.text(_file(cpu))) != governor:
            raise DeviceError(f"the governor of {cpu} is {now}, not {governor}")


def _file(cpu: str) -> str:
    return f"sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor"
