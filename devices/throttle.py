"""Counters of what slows a machine down: over-current, heat, brakes. Only their differences say something of a run."""

from __future__ import annotations

import re
from pathlib import Path

from devices.machine import Machine, read, read_int
from devices.smi import query

_COOLING = re.compile(r"throttle|cpufreq|devfreq|processor|balanced", re.IGNORECASE)
"""Cooling devices that take speed away; fans and displays are cooling devices too."""

_GPU_COUNTERS = ("sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
"""Times in µs. The software power cap is left out: a GPU at its power limit works as it is meant to."""


def throttle_counters(machine: Machine) -> dict[str, int]:
    """Name → value of every counter that this machine has. One that grew during a run means it was throttled.

    Sources: Tegra's soctherm (`ocN_event_cnt`: 1 under-voltage, 2 average and 3 instantaneous over-current, NVIDIA
    Jetson Linux guide, Platform Power and Performance), thermal alerts (`thermal_trip_event`), INA3221 critical
    current alarms, the state of cooling devices that take speed away and, where the kernel counts them, their
    changes, x86 `thermal_throttle`, the Raspberry Pi firmware's bits of what has happened since boot, and the
    NVIDIA driver's slow-down times (driver 545 and later).
    """
    counters: dict[str, int] = {}
    for hwmon in machine.glob("sys/class/hwmon/hwmon*"):
        name = read(hwmon / "name") or hwmon.name
        for path in sorted(hwmon.glob("oc*_event_cnt")):
            _take(counters, f"{name} {path.name}", path)
        for path in sorted(hwmon.glob("curr*_crit_alarm")):
            rail = read(hwmon / path.name.replace("curr", "in").replace("_crit_alarm", "_label"))
            _take(counters, f"{name} {rail} {path.name}" if rail else f"{name} {path.name}", path)
    for path in machine.glob("sys/devices/platform/*-throttle-alert/thermal_trip_event"):
        _take(counters, f"{path.parent.name} {path.name}", path)
    for device in machine.glob("sys/class/thermal/cooling_device*"):
        kind = read(device / "type") or ""
        if _COOLING.search(kind):
            _take(counters, f"{kind} {device.name} cur_state", device / "cur_state")
            _take(counters, f"{kind} {device.name} total_trans", device / "stats/total_trans")
    for path in machine.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"):
        _take(counters, f"{path.parent.parent.name} {path.name}", path)
    for path in machine.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        bits = read(path)
        if bits is not None and re.fullmatch(r"(0x)?[0-9a-fA-F]+", bits):
            # Bits 16 to 19 stay set once under-voltage, a capped clock, throttling or the soft limit occurred.
            counters["raspberry firmware get_throttled"] = int(bits, 16) >> 16
    return counters | _gpu_counters(machine)


def _take(counters: dict[str, int], name: str, path: Path) -> None:
    value = read_int(path)
    if value is not None:
        counters[name] = value


def _gpu_counters(machine: Machine) -> dict[str, int]:
    fields = [f"clocks_event_reasons_counters.{name}" for name in _GPU_COUNTERS]
    return {
        f"gpu{index} {name} us": int(value)
        for index, *values in query(machine, ["index", *fields], "nounits")
        for name, value in zip(_GPU_COUNTERS, values, strict=True)
        if value.isdigit()
    }
