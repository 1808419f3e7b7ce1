"""A made-up Orin Nano: a tree of what its kernel shows, which moves with time, and NVIDIA's tools as executables."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

FAKES = Path(__file__).parent
CONF = """\
# a comment with < POWER_MODEL ID=9 NAME=NOT_A_MODE >
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

< POWER_MODEL ID=0 NAME=15W >
CPU_A78_0 MAX_FREQ 1510400
TPC_POWER_GATING TPC_PG_MASK 248

< POWER_MODEL ID=1 NAME=25W >
CPU_A78_0 MAX_FREQ 1344000
TPC_POWER_GATING TPC_PG_MASK 248

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_A78_0 MAX_FREQ -1
TPC_POWER_GATING TPC_PG_MASK 248

< POWER_MODEL ID=3 NAME=7W >
CPU_A78_0 MAX_FREQ 960000
TPC_POWER_GATING TPC_PG_MASK 252

< PM_CONFIG DEFAULT=0 >
"""
STATUS = """\
Package: nvidia-l4t-core
Status: install ok installed
Version: 36.4.3-20250107174145
Description: core
 Version: 9 of the description

Package: nvidia-jetpack
Status: install ok installed
Version: 6.2+b77

Package: libnvinfer10
Status: install ok installed
Version: 10.3.0.30-1+cuda12.5

Package: tensorrt
Status: deinstall ok config-files
Version: 8.0.0
"""


class FakeBoard:
    """Files below `root`; `at(seconds)` is what they show so long after boot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for cpu in range(2):
            folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
            self.put(f"{folder}/scaling_governor", "schedutil")
            self.put(f"{folder}/scaling_available_governors", "conservative performance schedutil")
            self.put(f"{folder}/scaling_min_freq", "729600")
            self.put(f"{folder}/scaling_max_freq", "1510400")
        self.put("sys/class/devfreq/17000000.gpu/min_freq", "306000000")
        self.put("sys/class/devfreq/17000000.gpu/max_freq", "624750000")
        self.put("sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked", "0")
        self.put("sys/kernel/debug/bpmp/debug/clk/emc/min_rate", "204000000")
        self.put("sys/kernel/debug/bpmp/debug/clk/emc/max_rate", "2133000000")
        self.put("proc/sys/kernel/hostname", "orin-01")
        self.put("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
        self.put("proc/device-tree/serial-number", "1421523012345\0")
        self.put("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic")
        self.put("etc/nvpmodel.conf", CONF)
        self.put("var/lib/nvpmodel/status", "pmode:0000")
        self.put("var/lib/dpkg/status", STATUS)
        self.put("usr/local/cuda/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}')
        self.put("sys/class/hwmon/hwmon0/name", "pwmfan")
        self.put("sys/class/hwmon/hwmon1/name", "ina3221")
        self.put("sys/class/hwmon/hwmon1/in1_label", "VDD_IN")
        self.put("sys/class/hwmon/hwmon1/in2_label", "NC")
        self.put("sys/class/hwmon/hwmon1/in2_input", "0")
        self.put("sys/class/hwmon/hwmon1/in7_label", "sum of shunt voltages")
        self.put("sys/class/hwmon/hwmon1/in7_input", "7")
        self.put("sys/class/hwmon/hwmon3/name", "soctherm_oc")
        self.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
        self.put("sys/class/thermal/thermal_zone1/type", "cv0-thermal")
        self.put("sys/class/thermal/thermal_zone1/temp", "-256000")
        self.put("sys/class/thermal/cooling_device0/type", "pwm-fan")
        self.put("sys/class/thermal/cooling_device1/type", "cpu-throttle-alert")
        self.boot()
        self.at(0)

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file of sysfs is never seen half written.
        part = path.with_name(f".{path.name}.part")
        part.write_text(text if text.endswith("\0") else text + "\n")  # as the device tree and sysfs end theirs
        part.replace(path)

    def get(self, name: str) -> str:
        return (self.root / name).read_text().strip()

    def boot(self) -> None:
        """Another boot: what the kernel kept in memory is as at first; /var and /etc stay."""
        self.put("proc/sys/kernel/random/boot_id", str(uuid.uuid4()))
        for cpu in range(2):
            self.put(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", "schedutil")
            self.put(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_min_freq", "729600")
        self.put("sys/class/devfreq/17000000.gpu/min_freq", "306000000")
        self.put("sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked", "0")

    def at(self, seconds: float) -> None:
        """Show the board so long after it was put to work: warmer, its fan faster; from 60 s on it is throttled."""
        warm = min(seconds, 100) / 100
        throttled = max(0, int(seconds) - 60)
        self.put("sys/class/thermal/thermal_zone0/temp", str(round(45_000 + 50_000 * warm)))
        self.put("sys/class/hwmon/hwmon0/pwm1", str(round(80 + 175 * warm)))
        self.put("sys/class/hwmon/hwmon1/in1_input", str(round(5080 - 200 * warm)))
        self.put("sys/class/hwmon/hwmon1/curr1_crit_alarm", "0")
        self.put("sys/class/hwmon/hwmon3/oc1_event_cnt", "0")
        self.put("sys/class/hwmon/hwmon3/oc3_event_cnt", str(3 * throttled))
        self.put("sys/class/thermal/cooling_device0/cur_state", str(round(3 * warm)))
        self.put("sys/class/thermal/cooling_device1/cur_state", str(int(throttled > 0)))
        self.put("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "729600" if throttled else "1510400")
        self.put("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1510400")
        self.put("sys/class/devfreq/17000000.gpu/cur_freq", "306000000" if throttled else "624750000")
        self.put("sys/kernel/debug/bpmp/debug/clk/emc/rate", "2133000000")

    def gpu(self, **fields: str) -> None:
        """An NVIDIA GPU, as nvidia-smi shows it."""
        self.put("gpu", "\n".join(f"{name}={value}" for name, value in fields.items()))

    @property
    def mode(self) -> int:
        return int(self.get("var/lib/nvpmodel/status").removeprefix("pmode:"))

    @property
    def settings(self) -> dict[str, str]:
        """Everything that a run may set, as it is now."""
        names = ["var/lib/nvpmodel/status", "sys/class/devfreq/17000000.gpu/min_freq"]
        names += [
            f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_{name}"
            for cpu in range(2)
            for name in ("governor", "min_freq")
        ]
        names.append("sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked")
        return {name: self.get(name) for name in names}

    @property
    def journals(self) -> list[Path]:
        return sorted((self.root / "var/lib/neucodex-testbed").glob("*.journal"))

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which NVIDIA's tools are the fakes, and no real ones are found."""
        return {"PATH": f"{FAKES}:{os.environ['PATH']}", "FAKE_ROOT": str(self.root)}

    def as_seen_from_here(self, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
        """Itself, with its `environment` set for this process and what it starts."""
        for name, text in self.environment.items():
            monkeypatch.setenv(name, text)
        return self
