"""A Jetson's clocks, fixed at the most that the power mode allows (jetson_clocks)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.base.errors import DeviceError
from devices.machine import Machine, last_line
from devices.profile import Settings
from devices.settings.setting import Record, check_command

KIND = "jetson_clocks"
SURVIVES_REBOOT = False

_FIXED = re.compile(
    r"(scaling_)?(min|max)_freq|scaling_governor|disable|online|\w*rate_locked|clk_state|railgate_enable"
)
"""Files named by `jetson_clocks --store` that stay as they are written; rates and fans move by themselves."""


def wanted(settings: Settings) -> str | None:
    """`jetson_clocks`, where the profile says so."""
    return KIND if settings.jetson_clocks else None


def make(machine: Machine, settings: Settings, record: Record) -> None:
    """Fix them, with what they were in the journal."""
    stored = _store(machine)
    record(KIND, "", "clocks free → fixed by jetson_clocks", {"stored": stored})
    done = machine.run("jetson_clocks", as_root=True)
    if done.code != 0 or "Error" in done.output:
        raise DeviceError(f"jetson_clocks failed: {last_line(done.output)}")


def undo(machine: Machine, before: Mapping[str, Any]) -> None:
    """Give the clocks back what was stored."""
    stored = str(before["stored"])
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "stored"
        path.write_text(stored)
        done = machine.run("jetson_clocks", "--restore", str(path), as_root=True)
    # Its exit code is 0 whatever happened, so each file is read back.
    differ = []
    for line in stored.splitlines():
        name, _, wanted = line.partition(":")
        now = machine.text(name)
        if _FIXED.fullmatch(name.rpartition("/")[2]) and now is not None and now != wanted.strip():
            differ.append(f"{name} is {now}, was {wanted.strip()}")
    if differ:
        raise DeviceError(f"jetson_clocks --restore left {', '.join(differ)}; it said: {last_line(done.output)}")
    if done.code != 0:
        raise DeviceError(f"jetson_clocks --restore failed: {last_line(done.output)}")


def check(machine: Machine, settings: Settings) -> None:
    """jetson_clocks is there and may be run as root."""
    check_command(machine, "jetson_clocks")


def _store(machine: Machine) -> str:
    """What `jetson_clocks --store` writes: a line `FILE:VALUE` for everything that it may change."""
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "stored"
        done = machine.run("jetson_clocks", "--store", str(path), as_root=True)
        stored = _text_of_root(machine, path)
    if done.code != 0 or not stored:
        raise DeviceError(f"jetson_clocks --store failed, so nothing was changed: {last_line(done.output)}")
    return stored


def _text_of_root(machine: Machine, path: Path) -> str | None:
    # A file that root wrote, perhaps for itself alone.
    try:
        return path.read_text()
    except PermissionError:
        return machine.run("cat", str(path), as_root=True).output
    except OSError:
        return None
