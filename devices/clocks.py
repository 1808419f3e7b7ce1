"""Clocks, governors, fans and voltages as the kernel shows them now."""

from __future__ import annotations

from pathlib import Path

from devices.machine import Machine, read, read_int

_EMC = (
    # TX2, Xavier and later: the boot processor's; Nano and TX1: the bandwidth manager's. Root alone sees them.
    ("bpmp/debug/clk/emc/rate", "bpmp/debug/clk/emc/min_rate", "bpmp/debug/clk/emc/max_rate"),
    ("clk/override.emc/clk_rate", "tegra_bwmgr/emc_min_rate", "tegra_bwmgr/emc_max_rate"),
)


def clocks_mhz(machine: Machine) -> dict[str, dict[str, float]]:
    """`now`, `min` and `max` in MHz of each CPU and devfreq device (the GPU is one), and of the memory, `emc`."""
    clocks: dict[str, dict[str, float]] = {}
    for cpu in cpus(machine):
        folder = cpu / "cpufreq"
        clocks[cpu.name] = _limits(*(folder / f"scaling_{name}_freq" for name in ("cur", "min", "max")), per_mhz=1e3)
    for device in machine.glob("sys/class/devfreq/*"):
        clocks[device.name] = _limits(*(device / f"{name}_freq" for name in ("cur", "min", "max")), per_mhz=1e6)
    for names in _EMC:
        if "emc" not in clocks or not clocks["emc"]:
            clocks["emc"] = _limits(*(machine.path(f"sys/kernel/debug/{name}") for name in names), per_mhz=1e6)
    return {name: values for name, values in clocks.items() if values}


def cpus(machine: Machine) -> list[Path]:
    """The folder of each CPU, by number."""
    return sorted(machine.glob("sys/devices/system/cpu/cpu[0-9]*"), key=lambda path: int(path.name[3:]))


def per_cpu(machine: Machine, name: str) -> dict[str, str]:
    """One file of each CPU's cpufreq folder, where there is one."""
    values = {cpu.name: read(cpu / "cpufreq" / name) for cpu in cpus(machine)}
    return {cpu: value for cpu, value in values.items() if value}


def fans(machine: Machine) -> dict[str, int]:
    """Every `pwmN` (0 to 255) and `fanN_input` (rpm) of hwmon."""
    values = {}
    for hwmon in machine.glob("sys/class/hwmon/hwmon*"):
        name = read(hwmon / "name") or hwmon.name
        for path in sorted([*hwmon.glob("pwm[0-9]"), *hwmon.glob("fan[0-9]_input"), *hwmon.glob("rpm")]):
            value = read_int(path)
            if value is not None:
                values[f"{name} {path.name}"] = value
    return values


def voltages_mv(machine: Machine) -> dict[str, int]:
    """The bus voltage of every labelled rail, in mV: JetPack 5 and later by hwmon, JetPack 4 by iio."""
    values = {}
    hwmon = [
        (path, path.with_name(path.name.replace("_label", "_input")))
        for path in machine.glob("sys/class/hwmon/hwmon*/in[0-9]*_label")
    ]
    iio = [
        (path, path.with_name(f"in_voltage{path.name.rpartition('_')[2]}_input"))
        for path in machine.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-9]")
    ]
    for label, voltage in [*hwmon, *iio]:
        name, value = read(label), read_int(voltage)
        # "NC" is a channel that is not connected; the seventh is the sum of the shunts, no voltage.
        if name and value is not None and name != "NC" and label.name != "in7_label":
            values[name] = value
    return values


def temperatures_c(machine: Machine) -> dict[str, float]:
    """°C per zone; a zone that is switched off reads -256 °C on a Jetson, or not at all."""
    celsius: dict[str, float] = {}
    for zone in machine.glob("sys/class/thermal/thermal_zone*"):
        kind, milli = read(zone / "type"), read_int(zone / "temp")
        if kind and milli is not None and milli > -256_000:
            celsius[kind if kind not in celsius else f"{kind} ({zone.name})"] = milli / 1000
    return celsius


def _limits(now: Path, lowest: Path, highest: Path, *, per_mhz: float) -> dict[str, float]:
    values = {"now": read_int(now), "min": read_int(lowest), "max": read_int(highest)}
    return {name: value / per_mhz for name, value in values.items() if value is not None}
