"""What a machine says about itself, for the manifest. What it does not say is listed as absent."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from devices import jetson
from devices.clocks import clocks_mhz, fans, per_cpu, temperatures_c, voltages_mv
from devices.machine import Machine
from devices.smi import query
from devices.throttle import throttle_counters

_GPU_FIELDS = (
    "index",
    "name",
    "uuid",
    "serial",
    "driver_version",
    "pstate",
    "persistence_mode",
    "power.limit",
    "temperature.gpu",
    "clocks.gr",
    "clocks.mem",
    "clocks.max.gr",
    "clocks.max.mem",
    "fan.speed",
)
_PACKAGES = re.compile(r"nvidia-l4t-core|nvidia-jetpack|tensorrt|libnvinfer\d+")


def identify(root: Path = Path("/")) -> dict[str, Any]:
    """Facts about this machine as it is now, ready for JSON.

    Keys: `hostname`, `machine`, `kernel`, `python`, `boot_id`, `os`, `board_model` and `serial` (the device tree's or
    the firmware's), `cpu_model`, `cpu_count`, `memory_bytes`; `l4t`, `jetpack`, `cuda`, `tensorrt`, `nvidia_driver`
    (versions), `gpus` (what nvidia-smi says of each, as text with units); `power_mode` (nvpmodel's id,
    name, and all modes), `cpu_governor` and `cpu_khz` (per CPU), `clocks_mhz` (now, min, max of CPUs, devfreq devices,
    memory), `fan`, `temperature_c` (per thermal zone), `voltage_mv` (per rail), `throttle` (counters; see
    `devices.throttle`); and `absent`, the names of those that this machine does not say.

    Args:
        root: where /proc, /sys and /etc are looked for.
    """
    machine = Machine(root)
    packages = _packages(machine)
    # A Jetson's nvidia-smi repeats what devfreq says, or says nothing.
    gpus = _gpus(machine)
    facts: dict[str, Any] = {
        "hostname": machine.text("proc/sys/kernel/hostname"),
        "machine": platform.machine(),
        "kernel": machine.text("proc/sys/kernel/osrelease"),
        "python": platform.python_version(),
        "boot_id": boot_id(machine),
        "os": _field(machine, "etc/os-release", "=", "PRETTY_NAME"),
        "board_model": machine.text("proc/device-tree/model") or machine.text("sys/class/dmi/id/product_name"),
        "serial": machine.text("proc/device-tree/serial-number") or machine.text("sys/class/dmi/id/product_serial"),
        "cpu_model": _field(machine, "proc/cpuinfo", ":", "model name"),
        "cpu_count": os.cpu_count(),
        "memory_bytes": _memory_bytes(machine),
        "l4t": jetson.l4t_release(machine, packages),
        "jetpack": packages.get("nvidia-jetpack"),
        "cuda": _cuda(machine),
        "tensorrt": packages.get("tensorrt") or next((v for k, v in packages.items() if k.startswith("libnv")), None),
        "nvidia_driver": _driver(machine),
        "gpus": gpus,
        "power_mode": jetson.describe_power_mode(machine),
        "cpu_governor": per_cpu(machine, "scaling_governor"),
        "cpu_khz": {cpu: int(khz) for cpu, khz in per_cpu(machine, "scaling_cur_freq").items() if khz.isdigit()},
        "clocks_mhz": clocks_mhz(machine),
        "fan": fans(machine),
        "temperature_c": temperatures_c(machine),
        "voltage_mv": voltages_mv(machine),
        "throttle": throttle_counters(machine),
    }
    absent = [name for name, value in facts.items() if value in (None, {}, [])]
    return {name: value for name, value in facts.items() if name not in absent} | {"absent": absent}


def boot_id(machine: Machine) -> str | None:
    """Which boot this is: the kernel draws another id at each one."""
    return machine.text("proc/sys/kernel/random/boot_id")


def _field(machine: Machine, name: str, separator: str, key: str) -> str | None:
    for line in (machine.text(name) or "").splitlines():
        found, _, value = line.partition(separator)
        if found.strip() == key:
            return value.strip().strip('"') or None
    return None


def _memory_bytes(machine: Machine) -> int | None:
    total = _field(machine, "proc/meminfo", ":", "MemTotal")
    return int(total.split()[0]) * 1024 if total else None


def _packages(machine: Machine) -> dict[str, str]:
    """Name → version of the installed Debian packages that say which JetPack this is."""
    versions = {}
    for entry in (machine.text("var/lib/dpkg/status") or "").split("\n\n"):
        name = re.match(r"\s*Package: (\S+)", entry)
        if name and _PACKAGES.fullmatch(name[1]) and "\nStatus: install ok installed" in entry:
            version = re.search(r"^Version: (\S+)", entry, re.MULTILINE)
            if version:
                versions[name[1]] = version[1]
    return versions


def _cuda(machine: Machine) -> str | None:
    try:
        return str(json.loads(machine.text("usr/local/cuda/version.json") or "")["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        # CUDA 10 and older, as on JetPack 4.
        found = re.search(r"CUDA Version (\S+)", machine.text("usr/local/cuda/version.txt") or "")
        return found[1] if found else None


def _driver(machine: Machine) -> str | None:
    found = re.search(r"Kernel Module\D*\s(\d+\.[\d.]+)", machine.text("proc/driver/nvidia/version") or "")
    return found[1] if found else machine.text("sys/module/nvidia/version")


def _gpus(machine: Machine) -> list[dict[str, str]]:
    return [dict(zip(_GPU_FIELDS, row, strict=True)) for row in query(machine, _GPU_FIELDS)]
