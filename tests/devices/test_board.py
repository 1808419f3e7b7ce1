from __future__ import annotations

import json
from pathlib import Path

import pytest

from devices.board import _GPU_FIELDS, identify
from devices.machine import Machine
from devices.throttle import throttle_counters
from tests.fakes.board import FakeBoard


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
    }.items() <= facts.items()
    assert {"cpu_model", "l4t", "power_mode", "throttle"} <= set(facts["absent"])


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


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return FakeBoard(tmp_path / "board").as_seen_from_here(monkeypatch)


def test_a_jetson_says_what_it_is_how_it_is_set_and_how_it_fares(board: FakeBoard) -> None:
    facts = identify(board.root)
    expected = {
        "board_model": "NVIDIA Jetson Orin Nano Developer Kit",
        "serial": "1421523012345",
        "l4t": "36.4.3",
        "jetpack": "6.2+b77",
        "cuda": "12.6.68",
        "tensorrt": "10.3.0.30-1+cuda12.5",
        "power_mode": {"id": 0, "name": "15W", "modes": {"0": "15W", "1": "25W", "2": "MAXN_SUPER", "3": "7W"}},
        "cpu_governor": {"cpu0": "schedutil", "cpu1": "schedutil"},
        "clocks_mhz": {
            "cpu0": {"now": 1510.4, "min": 729.6, "max": 1510.4},
            "cpu1": {"now": 1510.4, "min": 729.6, "max": 1510.4},
            "17000000.gpu": {"now": 624.75, "min": 306, "max": 624.75},
            "emc": {"now": 2133, "min": 204, "max": 2133},
        },
        "fan": {"pwmfan pwm1": 80},
        "temperature_c": {"cpu-thermal": 45.0},
        "voltage_mv": {"VDD_IN": 5080},
        "throttle": {
            "ina3221 VDD_IN curr1_crit_alarm": 0,
            "soctherm_oc oc1_event_cnt": 0,
            "soctherm_oc oc3_event_cnt": 0,
            "cpu-throttle-alert cooling_device1 cur_state": 0,
        },
    }
    assert {name: facts.get(name) for name in expected} == expected
    assert json.loads(json.dumps(facts)) == facts


def test_a_board_that_warms_up_and_is_throttled_shows_it_in_its_counters(board: FakeBoard) -> None:
    board.at(10)
    before = identify(board.root)
    board.at(70)
    after = identify(board.root)
    grown = {name for name, count in after["throttle"].items() if count > before["throttle"][name]}
    assert grown == {"soctherm_oc oc3_event_cnt", "cpu-throttle-alert cooling_device1 cur_state"}
    assert after["temperature_c"]["cpu-thermal"] > before["temperature_c"]["cpu-thermal"]
    assert after["fan"]["pwmfan pwm1"] > before["fan"]["pwmfan pwm1"]
    assert after["clocks_mhz"]["17000000.gpu"]["now"] < before["clocks_mhz"]["17000000.gpu"]["now"]
    assert after["voltage_mv"]["VDD_IN"] < before["voltage_mv"]["VDD_IN"]


def test_a_fan_that_turns_faster_is_no_throttling(board: FakeBoard) -> None:
    board.at(50)
    assert not any("fan" in name for name in throttle_counters(Machine(board.root)))


@pytest.mark.parametrize(
    ("release", "package", "expected"),
    [
        ("# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref", "", "32.7.1"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081", "36.4.4-2025", "36.4.3"),
        ("", "38.2.0-20250821174705", "38.2.0"),
        ("", "", None),
    ],
)
def test_the_l4t_release_is_read_from_its_file_or_from_the_package(
    tmp_path: Path, release: str, package: str, expected: str | None
) -> None:
    status = f"Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: {package}\n" if package else ""
    put(tmp_path, {"etc/nv_tegra_release": release, "var/lib/dpkg/status": status})
    assert identify(tmp_path).get("l4t") == expected


def test_a_jetpack_4_board_shows_its_voltage_and_memory_clock_elsewhere(tmp_path: Path) -> None:
    iio = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    put(
        tmp_path,
        {
            f"{iio}/rail_name_0": "POM_5V_IN\n",
            f"{iio}/in_voltage0_input": "5008\n",
            "sys/kernel/debug/clk/override.emc/clk_rate": "1600000000\n",
            "usr/local/cuda/version.txt": "CUDA Version 10.2.300\n",
        },
    )
    facts = identify(tmp_path)
    assert facts["voltage_mv"] == {"POM_5V_IN": 5008}
    assert facts["clocks_mhz"] == {"emc": {"now": 1600}}
    assert facts["cuda"] == "10.2.300"


def test_an_x86_server_and_a_raspberry_pi_count_throttling_too(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "4\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "5\n",
            "sys/class/thermal/cooling_device0/type": "Processor\n",
            "sys/class/thermal/cooling_device0/cur_state": "0\n",
            "sys/class/thermal/cooling_device0/stats/total_trans": "12\n",
            "sys/class/thermal/cooling_device1/type": "intel_powerclamp\n",
            "sys/class/thermal/cooling_device1/cur_state": "-1\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        },
    )
    assert throttle_counters(Machine(tmp_path)) == {
        "cpu0 core_throttle_count": 4,
        "cpu0 package_throttle_count": 5,
        "Processor cooling_device0 cur_state": 0,
        "Processor cooling_device0 total_trans": 12,
        "raspberry firmware get_throttled": 5,
    }


def test_an_nvidia_gpu_is_described_and_its_slowdowns_counted(board: FakeBoard) -> None:
    fields = dict.fromkeys((*_GPU_FIELDS, "locked"), "[N/A]") | {"index": "0", "name": "NVIDIA H100", "pstate": "P0"}
    slow = {f"clocks_event_reasons_counters.{name}": "0" for name in ("hw_thermal_slowdown", "hw_power_brake_slowdown")}
    board.gpu(**fields, **slow, **{"clocks_event_reasons_counters.sw_thermal_slowdown": "1500"})
    board.put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5")
    facts = identify(board.root)
    assert facts["nvidia_driver"] == "550.54.15"
    assert facts["gpus"][0]["name"] == "NVIDIA H100"
    assert facts["throttle"]["gpu0 sw_thermal_slowdown us"] == 1500
    assert facts["throttle"]["gpu0 hw_thermal_slowdown us"] == 0


def test_a_warning_of_ecc_takes_no_fact_of_a_gpu_away(board: FakeBoard) -> None:
    fields = dict.fromkeys(_GPU_FIELDS, "[N/A]") | {"index": "0", "name": "NVIDIA A100"}
    slow = {
        f"clocks_event_reasons_counters.{name}": "7"
        for name in ("sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
    }
    board.gpu(**fields, **slow, warning="infoROM is corrupted at gpu 0000:3B:00.0")
    facts = identify(board.root)
    assert [gpu["name"] for gpu in facts["gpus"]] == ["NVIDIA A100"]
    assert facts["throttle"]["gpu0 hw_thermal_slowdown us"] == 7


def test_a_driver_that_does_not_count_slowdowns_gives_no_zeros(board: FakeBoard) -> None:
    board.gpu(**dict.fromkeys(_GPU_FIELDS, "[N/A]"))
    assert not any("gpu" in name and "slowdown" in name for name in throttle_counters(Machine(board.root)))


def test_a_power_mode_that_nvpmodel_does_not_tell_is_absent(board: FakeBoard) -> None:
    board.put("var/lib/nvpmodel/status", "pmode:0007")  # the fake fails on it, as nvpmodel does without its files
    assert "power_mode" in identify(board.root)["absent"]
