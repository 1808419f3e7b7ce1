"""The clock of an NVIDIA GPU, locked by its driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from devices.base.errors import DeviceError
from devices.machine import Machine, NeedsRootError, last_line, needs_root
from devices.profile import Settings
from devices.settings.setting import Record, check_command
from devices.smi import DONE

KIND = "gpu_clocks"
SURVIVES_REBOOT = False


def wanted(settings: Settings) -> str | None:
    """Such as `gpu_clocks_mhz 1200`."""
    return None if settings.gpu_clocks_mhz is None else f"gpu_clocks_mhz {settings.gpu_clocks_mhz}"


def make(machine: Machine, settings: Settings, record: Record) -> None:
    """Lock it."""
    gpu, mhz = settings.gpu, settings.gpu_clocks_mhz
    # The driver does not tell whether somebody locked the clocks before; restoring unlocks them.
    record(KIND, str(gpu), f"clock of GPU {gpu} free → locked at {mhz} MHz", {"gpu": gpu})
    done = machine.run("nvidia-smi", "-i", str(gpu), "-lgc", f"{mhz},{mhz}", as_root=True)
    if done.code not in DONE:
        raise _error(machine, f"nvidia-smi -lgc {mhz}", done.output)
    # A clock that the GPU does not have is not refused but cut.
    locked = re.search(r"gpuClkMin (\d+), gpuClkMax (\d+)", done.output)
    if not locked or locked.groups() != (str(mhz), str(mhz)):
        raise DeviceError(
            f"GPU {gpu} was not locked at {mhz} MHz; nvidia-smi said: {' '.join(done.output.split())} "
            "`nvidia-smi -q -d SUPPORTED_CLOCKS` lists what it has"
        )


def undo(machine: Machine, before: Mapping[str, Any]) -> None:
    """Unlock it."""
    done = machine.run("nvidia-smi", "-i", str(before["gpu"]), "-rgc", as_root=True)
    if done.code not in DONE:
        raise _error(machine, f"nvidia-smi -i {before['gpu']} -rgc", done.output)


def check(machine: Machine, settings: Settings) -> None:
    """nvidia-smi is there and may be run as root."""
    check_command(machine, "nvidia-smi")


def _error(machine: Machine, command: str, output: str) -> DeviceError:
    if not machine.is_root and "permission" in output.lower():
        return NeedsRootError(needs_root(f"`{command}`", "nvidia-smi"))
    return DeviceError(f"{command} failed: {last_line(output)}")
