"""What a machine says about itself, for the manifest. What it does not say is listed as absent."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def identify(root: Path = Path("/")) -> dict[str, Any]:
    """Facts about this machine, ready for JSON.

    Keys: `hostname`, `machine`, `kernel`, `python`, `boot_id`, `os`, `board_model` (the device tree's),
    `cpu_model`, `cpu_count`, `cpu_governor` and `cpu_khz` (per CPU), `memory_bytes`, `temperature_c` (per
    thermal zone), and `absent`, the names of those that cannot be read here.

    Args:
        root: where /proc, /sys and /etc are looked for.
    """
    facts: dict[str, Any] = {
        "hostname": _text(root / "proc/sys/kernel/hostname"),
        "machine": platform.machine(),
        "kernel": _text(root / "proc/sys/kernel/osrelease"),
        "python": platform.python_version(),
        "boot_id": _text(root / "proc/sys/kernel/random/boot_id"),
        "os": _field(root / "etc/os-release", "=", "PRETTY_NAME"),
        "board_model": _text(root / "proc/device-tree/model"),
        "cpu_model": _field(root / "proc/cpuinfo", ":", "model name"),
        "cpu_count": os.cpu_count(),
        "cpu_governor": _per_cpu(root, "scaling_governor"),
        "cpu_khz": {cpu: int(khz) for cpu, khz in _per_cpu(root, "scaling_cur_freq").items() if khz.isdigit()},
        "memory_bytes": _memory_bytes(root),
        "temperature_c": _temperatures(root),
    }
    absent = [name for name, value in facts.items() if value is None or value == {}]
    return {name: value for name, value in facts.items() if name not in absent} | {"absent": absent}


def _text(path: Path) -> str | None:
    try:
        # Device-tree strings end with a NUL.
        text = path.read_text(errors="replace").rstrip("\0").strip()
    except OSError:
        return None
    return text or None


def _field(path: Path, separator: str, name: str) -> str | None:
    for line in (_text(path) or "").splitlines():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip().strip('"') or None
    return None


def _per_cpu(root: Path, name: str) -> dict[str, str]:
    cpus = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"), key=lambda path: int(path.name[3:]))
    values = {cpu.name: _text(cpu / "cpufreq" / name) for cpu in cpus}
    return {cpu: value for cpu, value in values.items() if value}


def _memory_bytes(root: Path) -> int | None:
    total = _field(root / "proc/meminfo", ":", "MemTotal")
    return int(total.split()[0]) * 1024 if total else None


def _temperatures(root: Path) -> dict[str, float]:
    """°C per zone; a zone that is switched off reads -256 °C on a Jetson, or not at all."""
    celsius: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, milli = _text(zone / "type"), _text(zone / "temp")
        if kind and milli and milli.lstrip("-").isdigit() and int(milli) > -256_000:
            celsius[kind if kind not in celsius else f"{kind} ({zone.name})"] = int(milli) / 1000
    return celsius
