from __future__ import annotations

import json
from pathlib import Path

from devices.board import identify


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_jetson_is_identified_from_what_it_shows(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/sys/kernel/hostname": "orin-01\n",
            "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
            "proc/sys/kernel/random/boot_id": "6f1c\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd42\n",
            "proc/meminfo": "MemTotal:        7802000 kB\nMemFree: 1 kB\n",
            "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400\n",
            "sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq": "729600\n",
            "sys/devices/system/cpu/cpufreq/unrelated": "x\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "47250\n",
            "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "-256000\n",
            "sys/class/thermal/thermal_zone2/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone2/temp": "-1500\n",
        },
    )
    facts = identify(tmp_path)
    assert {
        "hostname": "orin-01",
        "kernel": "5.15.148-tegra",
        "boot_id": "6f1c",
        "board_model": "NVIDIA Jetson Orin Nano Developer Kit",
        "os": "Ubuntu 22.04.5 LTS",
        "memory_bytes": 7802000 * 1024,
        "cpu_governor": {"cpu0": "schedutil"},
        "cpu_khz": {"cpu0": 1510400, "cpu10": 729600},
        "temperature_c": {"cpu-thermal": 47.25, "cpu-thermal (thermal_zone2)": -1.5},
        "absent": ["cpu_model"],
    }.items() <= facts.items()


def test_what_is_not_there_is_listed_and_not_invented(tmp_path: Path) -> None:
    facts = identify(tmp_path)
    missing = {
        "hostname",
        "kernel",
        "boot_id",
        "os",
        "board_model",
        "cpu_model",
        "memory_bytes",
        "temperature_c",
    }
    assert missing <= set(facts["absent"])
    assert not missing & set(facts)


def test_this_machine_is_identified_in_json() -> None:
    facts = identify()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
