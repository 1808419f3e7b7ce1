"""The power monitors of every JetPack are found, read right, and known as well as their data sheets say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.base.errors import DeviceError
from devices.base.power import Capability
from devices.power.client import PowerSampler
from devices.power.ina import InaPower, InaSource
from devices.power.ina_channels import ina3221_averaging_ms
from devices.power.source import Sample, Surroundings
from devices.profile import Profile, Runtime
from tests.devices.lines import integrate_mj, lines_of, more_lines, wait_for_lines
from tests.fakes.jetsons import PERIOD_S, agx_orin, agx_xavier, nano, orin_nano, rail, thor, tx2, xavier_nx
from tests.fakes.sysfs import FakeTree, SimRail, fresh, not_ours, triangle

S = 1_000_000_000
MS = 1_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FakeTree]:
    tree = FakeTree(tmp_path / "root")
    yield tree
    tree.close()


BOARDS: dict[str, tuple[Callable[[FakeTree], None], dict[str, str]]] = {
    "Nano, JetPack 4": (nano, {"POM_5V_IN": "module", "POM_5V_GPU": "rail", "POM_5V_CPU": "rail"}),
    "TX2, JetPack 4": (
        tx2,
        {"VDD_IN": "module"}
        | dict.fromkeys(["VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_SYS_CPU", "VDD_SYS_DDR"], "rail")
        | dict.fromkeys(["VDD_MUX", "VDD_5V0_IO_SYS", "VDD_3V3_SYS"], "rail"),
    ),
    "AGX Xavier, JetPack 4": (agx_xavier, dict.fromkeys(["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"], "module")),
    "Xavier NX, JetPack 5": (xavier_nx, {"VDD_IN": "module", "VDD_CPU_GPU_CV": "rail", "VDD_SOC": "rail"}),
    "AGX Orin, JetPack 5": (
        agx_orin,
        {"VDD_GPU_SOC": "module", "VDD_CPU_CV": "module", "VIN_SYS_5V0": "module", "VDDQ_VDD2_1V8AO": "rail"},
    ),
    "Orin Nano, JetPack 6": (orin_nano, {"VDD_IN": "module", "VDD_CPU_GPU_CV": "rail", "VDD_SOC": "rail"}),
    "Thor, JetPack 7": (
        thor,
        {"VDD_GPU": "module", "VDD_CPU_SOC_MSS": "module", "VIN_SYS_5V0": "module", "VIN": "board"},
    ),
}


class Sensors:
    """A tree and a source that share a clock which only `go` moves."""

    def __init__(self, tree: FakeTree, spec: InaPower | None = None) -> None:
        self.tree = tree
        self.now_ns = 100 * S
        self.tree.write(self.now_ns)
        self.source = InaSource(
            spec or InaPower(rate_hz=100), Surroundings(Path("none"), tree.root), lambda: self.now_ns
        )

    def probe(self) -> Capability:
        return self.source.probe()

    def go(self, duration_ns: int) -> list[Sample]:
        self.now_ns += duration_ns
        self.tree.write(self.now_ns)
        return self.source.read()


@pytest.mark.parametrize("board", BOARDS)
def test_the_rails_of_every_generation_are_found_with_their_scopes(tree: FakeTree, board: str) -> None:
    make, scopes = BOARDS[board]
    make(tree)
    sensors = Sensors(tree)
    capability = sensors.probe()
    assert capability.source == "ina"
    assert {rail.name: rail.scope for rail in capability.rails} == scopes
    assert set(capability.detail["rails"]) == set(scopes)
    sensors.source.close()


@pytest.mark.parametrize("board", BOARDS)
def test_readings_follow_the_power_of_every_rail(tree: FakeTree, board: str) -> None:
    make, scopes = BOARDS[board]
    make(tree)
    sensors = Sensors(tree)
    steps = {rail.name: rail.lsb_mw for rail in sensors.probe().rails}
    for _ in range(20):
        samples = sensors.go(740 * MS)
        assert {sample.rail for sample in samples} == set(scopes)
        for sample in samples:
            low, high = (20000, 60000) if sample.rail == "VIN" else (4000, 8000)
            # As precise as whole mA are.
            assert sample.mw == pytest.approx(triangle(low, high, PERIOD_S)(sensors.now_ns), abs=10), steps
    sensors.source.close()


def test_the_error_of_a_rail_is_that_of_its_data_sheet(tree: FakeTree) -> None:
    agx_orin(tree)
    sensors = Sensors(tree)
    rails = {rail.name: rail for rail in sensors.probe().rails}
    sensors.source.close()
    assert rails["VDD_GPU_SOC"].lsb_mw == pytest.approx(400, abs=1)
    assert rails["VIN_SYS_5V0"].lsb_mw == pytest.approx(100, abs=1)
    assert rails["VDD_GPU_SOC"].offset_mw == pytest.approx(800)
    assert rails["VDD_GPU_SOC"].gain == 0.0025


def test_the_step_of_an_orin_nano_is_41_mw(tree: FakeTree) -> None:
    orin_nano(tree)
    sensors = Sensors(tree)
    [vdd_in, *_] = sensors.probe().rails
    sensors.source.close()
    assert vdd_in.lsb_mw == pytest.approx(41, abs=1)


def test_the_step_of_the_bus_voltage_counts_as_current_flows(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    tree.hwmon("1-0040", 1, [SimRail("VDD_IN", 5000, 5000, lambda _: 50_000.0)])
    sensors = Sensors(tree)
    [vdd_in] = sensors.probe().rails
    sensors.source.close()
    # 10 A · 8 mV = 80 mW across 5 V · 40 µV / 5 mΩ = 40 mW.
    assert vdd_in.lsb_mw == pytest.approx(np.hypot(80, 40))


def test_the_profile_may_correct_a_shunt_and_add_its_tolerance(tree: FakeTree) -> None:
    orin_nano(tree)
    sensors = Sensors(tree, InaPower(rate_hz=10, shunt_mohm={"VDD_IN": 10}, shunt_tolerance=0.01))
    capability = sensors.probe()
    sensors.source.close()
    assert capability.rails[0].offset_mw == pytest.approx(5120 * 80 / 10_000)
    assert capability.rails[0].gain == pytest.approx(0.0125)
    assert capability.detail["rails"]["VDD_IN"]["shunt_uohm"] == 10_000


@pytest.mark.parametrize(
    ("config", "averaging_ms"), [(0x7127, 6.6), (0x7727, 422.4), (0x7003, 0.84), (0x4127, 2.2), (0x7E07, 860.16)]
)
def test_the_averaging_time_is_read_from_the_configuration(config: int, averaging_ms: float) -> None:
    assert ina3221_averaging_ms(config) == pytest.approx(averaging_ms)


def test_jetpack_4_averages_as_its_driver_or_device_tree_says(tree: FakeTree) -> None:
    nano(tree)
    device = "sys/bus/i2c/drivers/ina3221x/6-0040"
    for name, content, averaging_ms in [
        ("of_node/unrelated", b"", 422.4),
        ("of_node/ti,continuous-config", b"\x00\x00\x76\x07", 53.76),
        ("iio:device0/running_mode", b"0\n", 0.84),
    ]:
        tree.put(f"{device}/{name}", content)
        sensors = Sensors(tree)
        assert sensors.probe().averaging_ms == pytest.approx(averaging_ms)
        sensors.source.close()


@pytest.mark.parametrize("averaging_ms", [7, 422])
def test_averaging_does_not_move_energy_in_time(tree: FakeTree, averaging_ms: int) -> None:
    # A ramp: read late, it would be lower all along.
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    ramp = SimRail("VDD_IN", 5000, 5000, lambda t_ns: 1000 + 400 * (t_ns - 100 * S) / 1e9)
    tree.hwmon("1-0040", 1, [ramp], averaging_ms=averaging_ms)
    sensors = Sensors(tree)
    assert sensors.probe().averaging_ms == averaging_ms
    samples = [sample for _ in range(1000) for sample in sensors.go(10 * MS)]
    sensors.source.close()
    excess_mw = [sample.mw - ramp.power(sample.t_ns) for sample in samples]
    # Half a step of averaging either way, and none on the average.
    assert max(map(abs, excess_mw)) <= 400 * averaging_ms / 1000 / 2 + 5
    assert np.mean(excess_mw) == pytest.approx(0, abs=400 * averaging_ms / 1000 * 0.05 + 3)


def test_negative_power_is_a_reading(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    tree.hwmon("1-0040", 1, [SimRail("VDD_IN", 5000, 5000, lambda _: -40.0)])
    sensors = Sensors(tree)
    sensors.probe()
    [sample] = sensors.go(MS)
    sensors.source.close()
    assert sample.mw == pytest.approx(-40)


def test_a_board_without_monitors_is_an_error(tree: FakeTree) -> None:
    tree.board("NVIDIA Jetson Nano 2GB Developer Kit")
    with pytest.raises(DeviceError, match=r"no power monitor with a rail under .*drivers .*external meter"):
        Sensors(tree).probe()


def test_an_unknown_board_is_an_error_unless_the_profile_names_the_rails(tree: FakeTree) -> None:
    tree.board("Acme Carrier")
    tree.hwmon("1-0040", 1, [rail("V_MAIN"), rail("V_CPU")])
    with pytest.raises(DeviceError, match=r"board `Acme Carrier` \(found: V_MAIN, V_CPU\)"):
        Sensors(tree).probe()
    sensors = Sensors(tree, InaPower(rate_hz=10, rails={"V_MAIN": "board"}))
    assert [rail.scope for rail in sensors.probe().rails] == ["board", "rail"]
    sensors.source.close()


def test_the_profile_may_name_the_board(tree: FakeTree) -> None:
    tree.hwmon("1-0040", 1, [rail("VDD_IN")])
    sensors = Sensors(tree, InaPower(rate_hz=10, board="Jetson Orin NX"))
    assert sensors.probe().rails[0].scope == "module"
    sensors.source.close()


def test_two_rails_of_one_name_are_an_error(tree: FakeTree) -> None:
    orin_nano(tree)
    tree.hwmon("1-0041", 2, [rail("VDD_SOC")])
    with pytest.raises(DeviceError, match="two rails are named VDD_SOC"):
        Sensors(tree).probe()


def test_a_channel_that_is_off_is_no_rail(tree: FakeTree) -> None:
    orin_nano(tree)
    tree.put("sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_enable", "0\n")
    with pytest.raises(DeviceError, match=r"whole node is VDD_IN, but the rails found are: VDD_CPU_GPU_CV, VDD_SOC"):
        Sensors(tree).probe()


def test_a_rail_without_its_current_is_an_error(tree: FakeTree) -> None:
    orin_nano(tree)
    (tree.root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input").unlink()
    with pytest.raises(DeviceError, match=r"curr1_input: rail VDD_IN cannot be read: No such file"):
        Sensors(tree).probe()


def test_a_shunt_that_nobody_tells_is_an_error(tree: FakeTree) -> None:
    nano(tree)
    (tree.root / "sys/bus/i2c/drivers/ina3221x/6-0040/of_node/channel@0/ti,shunt-resistor-mohm").unlink()
    with pytest.raises(DeviceError, match=r"shunt resistor of rail POM_5V_IN .* shunt_mohm: \{POM_5V_IN: …\}"):
        Sensors(tree).probe()
    sensors = Sensors(tree, InaPower(rate_hz=10, shunt_mohm={"POM_5V_IN": 5}))
    assert sensors.probe().rails[0].offset_mw == pytest.approx(80)
    sensors.source.close()


def test_garbage_in_place_of_a_number_is_an_error(tree: FakeTree) -> None:
    orin_nano(tree)
    sensors = Sensors(tree)
    sensors.probe()
    path = tree.root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input"
    with path.open("r+b") as file:
        file.write(b"many            \n")
    with pytest.raises(DeviceError, match=r"curr2_input: rail VDD_CPU_GPU_CV reads b'many.*', which is no number"):
        sensors.source.read()
    sensors.source.close()


def test_a_sensor_that_may_not_be_read_says_what_to_do() -> None:
    with (
        not_ours(orin_nano, "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input") as tree,
        pytest.raises(DeviceError, match=r"curr1_input: rail VDD_IN may not be read; run the worker as root, or"),
    ):
        InaSource(InaPower(rate_hz=100), Surroundings(Path("none"), tree.root)).probe()


def test_a_read_before_the_probe_is_refused(tree: FakeTree) -> None:
    with pytest.raises(DeviceError, match="before they were probed"):
        Sensors(tree).source.read()


def test_the_sampler_integrates_a_moving_board_to_its_energy(
    tree: FakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fresh(agx_orin, tree.root).items():
        monkeypatch.setenv(name, value)
    profile = Profile(
        name="orin",
        kind="jetson",
        reach="local",
        runtime=Runtime(provider="cpu"),
        root=str(tree.root),
        power=[InaPower(rate_hz=100)],
    )
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(profile, "edge", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 8)
        start_ns = time.monotonic_ns()
        wait_for_lines(out, 4 * 150)
        end_ns = time.monotonic_ns()
        more_lines(out, 16)
        report = sampler.stop()
    lines = lines_of(out)
    power = triangle(4000, 8000, PERIOD_S)
    truth_mj = np.mean([power(t_ns) for t_ns in np.linspace(start_ns, end_ns, 20_001)]) * (end_ns - start_ns) / 1e9
    for name in ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"):
        rows = [line for line in lines if line["rail"] == name]
        assert {row["scope"] for row in rows} == {"module"}
        assert integrate_mj(rows, start_ns, end_ns) == pytest.approx(truth_mj, rel=0.03)
    [source] = report.sources
    assert (source.source, source.samples) == ("ina", len(lines))
    assert source.rails == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
