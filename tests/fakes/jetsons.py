"""The power monitors of every Jetson, as their JetPacks show them, with a power that moves."""

from __future__ import annotations

from tests.fakes.sysfs import NOT_CONNECTED, FakeTree, SimRail, triangle

PERIOD_S = 20  # slow enough for what a stalled sampler makes of it


def rail(name: str, bus_mv: int = 5000, shunt_uohm: int = 5000, low: float = 4000, high: float = 8000) -> SimRail:
    return SimRail(name, bus_mv, shunt_uohm, triangle(low, high, PERIOD_S))


def nano(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Nano Developer Kit")
    tree.jetpack4("6-0040", [rail("POM_5V_IN"), rail("POM_5V_GPU"), rail("POM_5V_CPU")])


def tx2(tree: FakeTree) -> None:
    tree.board("quill")
    tree.jetpack4("0-0040", [rail("VDD_SYS_GPU"), rail("VDD_SYS_SOC"), rail("VDD_4V0_WIFI")])
    tree.jetpack4("0-0041", [rail("VDD_IN", 19000), rail("VDD_SYS_CPU"), rail("VDD_SYS_DDR")])
    tree.jetpack4("0-0042", [rail("VDD_MUX", 19000), rail("VDD_5V0_IO_SYS"), rail("VDD_3V3_SYS")])


def agx_xavier(tree: FakeTree) -> None:
    tree.board("Jetson-AGX")
    tree.jetpack4("1-0040", [rail("GPU", 19000), rail("CPU", 19000), rail("SOC", 19000)])
    tree.jetpack4("1-0041", [rail("CV", 19000), rail("VDDRQ", 19000), rail("SYS5V")])


def xavier_nx(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Xavier NX Developer Kit")
    tree.hwmon("7-0040", 4, [rail("VDD_IN"), rail("VDD_CPU_GPU_CV"), rail("VDD_SOC")])


def agx_orin(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson AGX Orin Developer Kit")
    tree.hwmon(
        "1-0040",
        3,
        [rail("VDD_GPU_SOC", 20000, 2000), rail("VDD_CPU_CV", 20000, 2000), rail("VIN_SYS_5V0", 5000, 2000)],
    )
    tree.hwmon("1-0041", 11, [NOT_CONNECTED, rail("VDDQ_VDD2_1V8AO", 5000, 2000), NOT_CONNECTED])


def orin_nano(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    tree.hwmon("1-0040", 1, [rail("VDD_IN", 5120), rail("VDD_CPU_GPU_CV", 5120), rail("VDD_SOC", 5120)])


def thor(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson AGX Thor Developer Kit")
    tree.hwmon("2-0040", 5, [rail("VDD_GPU", 20000, 1000), rail("VDD_CPU_SOC_MSS", 20000, 1000), rail("VIN_SYS_5V0")])
    tree.ina238("2-0044", 6, rail("VIN", 20000, 2000, 20000, 60000))
