"""A reading that no hardware can draw is left out and counted, wherever it comes from; what is merely high is kept."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base.power import Rail
from devices.power.client import PowerSampler
from devices.power.ina import InaPower
from devices.power.nvml import NvmlPower, NvmlSource
from devices.power.plausible import MARGIN, Plausibility
from devices.power.rails import BOARDS, board_limit_mw
from devices.power.rapl import RaplPower, RaplSource
from devices.power.source import Sample, Surroundings
from devices.profile import Profile, Runtime
from tests.devices.lines import lines_of, more_lines
from tests.fakes.sysfs import FakeTree, SimRail

FAKE_NVML = Path(__file__).parents[1] / "fakes" / "nvml"
S = 1_000_000_000
GLITCH = 2 * S
RANGE_UJ = 262_143_328_850


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FakeTree]:
    tree = FakeTree(tmp_path / "root")
    yield tree
    tree.close()


def believed(rail: Rail, *readings: float) -> tuple[list[float], dict[str, int]]:
    plausibility = Plausibility([rail])
    kept = plausibility.believed([Sample(t, rail.name, mw) for t, mw in enumerate(readings)])
    return [sample.mw for sample in kept], plausibility.left_out


def test_a_reading_counts_up_to_the_limit_and_below_zero_as_far_as_the_error_reaches() -> None:
    rail = Rail(name="VDD_IN", scope="module", gain=0.0025, offset_mw=80, lsb_mw=41, max_mw=40_000)
    kept, left_out = believed(rail, -221, -80, 0, 40_000, -222, 40_001, 2**32 - 1, math.nan, math.inf)
    assert kept == [-221, -80, 0, 40_000]
    assert left_out == {"VDD_IN": 5}


def test_a_models_power_has_no_limit() -> None:
    assert believed(Rail(name="R", scope="emulated"), -1, 1e9) == ([-1, 1e9], {})


def test_a_boards_limit_is_its_modules_power_with_room_for_pulses_and_that_of_an_unknown_board_the_greatest() -> None:
    assert board_limit_mw("NVIDIA Jetson Orin Nano Developer Kit") == MARGIN * 40_000
    assert board_limit_mw("NVIDIA Jetson AGX Thor Developer Kit") == MARGIN * 130_000 > 330_000
    assert board_limit_mw("somebody's own") == max(board_limit_mw(board.name) for board in BOARDS)


def rapl(tree: FakeTree, joules: list[float], **spec: float) -> tuple[RaplSource, list[Sample]]:
    """A zone that is read once a second, and what it then gives."""
    now = [0]
    tree.rapl("intel-rapl:0", "package-0", lambda t_ns: round(joules[t_ns // S % len(joules)] * 1e6), RANGE_UJ)
    tree.write(0)
    source = RaplSource(RaplPower(rate_hz=1, gain=0.05, **spec), Surroundings(Path("none"), tree.root), lambda: now[0])
    source.probe()
    samples = []
    for second in range(1, len(joules)):
        now[0] = second * S
        tree.write(now[0])
        samples += source.read()
    return source, samples


def test_a_rapl_counter_that_begins_anew_after_a_suspend_is_left_out_and_counted(tree: FakeTree) -> None:
    tree.put("sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw", "125000000\n")
    source, samples = rapl(tree, [50_000, 50_060, 50_120, 3, 63, 123])  # as a wrap it is 212 kW
    assert [(sample.t_ns, sample.mw) for sample in samples] == [
        (S // 2, 60_000), (3 * S // 2, 60_000), (7 * S // 2, 60_000), (9 * S // 2, 60_000),
    ]  # fmt: skip
    assert source.self_check().implausible == {"package-0": 1}
    source.close()


@pytest.mark.parametrize(
    ("files", "spec", "limit_w"),
    [
        ({"constraint_0_max_power_uw": 125_000_000, "constraint_1_power_limit_uw": 253_000_000}, {}, 253 * MARGIN),
        ({"constraint_0_max_power_uw": 65_000_000, "constraint_1_power_limit_uw": 4_095_875_000}, {}, 65 * MARGIN),
        ({"constraint_0_max_power_uw": 0}, {}, 500 * MARGIN),
        ({}, {}, 500 * MARGIN),
        ({"constraint_0_max_power_uw": 125_000_000}, {"max_mw": 90_000}, 90),
    ],
    ids=["the short term's", "unlimited is none", "0 is none", "no files", "the profile's"],
)
def test_a_zones_limit_is_from_its_constraint_files(tree: FakeTree, files, spec, limit_w) -> None:
    for name, value in files.items():
        tree.put(f"sys/class/powercap/intel-rapl:0/{name}", f"{value}\n")
    source, samples = rapl(tree, [0, limit_w - 1, 2 * limit_w, 2 * limit_w + 10], **spec)
    assert [round(sample.mw / 1000) for sample in samples] == [limit_w - 1, 10]
    assert source.self_check().implausible == {"package-0": 1}
    source.close()


@pytest.mark.parametrize(("spec", "limit_mw"), [({}, 3 * 350_000), ({"max_mw": 150_000}, 150_000)])
def test_a_gpus_limit_is_from_its_driver_or_the_profile_and_4_mw_are_left_out(monkeypatch, spec, limit_mw) -> None:
    monkeypatch.setenv("FAKE_NVML", "wrapped")
    monkeypatch.setenv("FAKE_NVML_S", "1000")
    monkeypatch.syspath_prepend(str(FAKE_NVML))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    now = [1000 * S]
    source = NvmlSource(NvmlPower(rate_hz=20, **spec), Surroundings(Path("none")), lambda: now[0])
    capability = source.probe()
    samples = []
    for _ in range(200):
        now[0] += S // 20
        monkeypatch.setenv("FAKE_NVML_S", repr(now[0] / 1e9))
        samples += source.read()
    check = source.self_check()
    source.close()
    sys.modules.pop("pynvml", None)
    assert {rail.max_mw for rail in capability.rails} == {limit_mw}
    assert max(sample.mw for sample in samples) <= min(limit_mw, 180_000)
    assert check.implausible["GPU0"] >= 20
    if not spec:
        assert check.warnings == [], "4.29 MW did not reach the comparison with the energy counter either"


def board(tree: FakeTree, **spec: float) -> Profile:
    return Profile(
        name="board", kind="jetson", reach="local", runtime=Runtime(provider="cpu"), root=str(tree.root),
        power=[InaPower(rate_hz=200, **spec)],
    )  # fmt: skip


def test_the_sampler_leaves_a_glitch_of_the_bus_out_of_the_record_and_reports_how_many(
    tree: FakeTree, tmp_path: Path
) -> None:
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    glitching = SimRail("VDD_IN", 5000, 5000, lambda t_ns: 4e9 if t_ns == GLITCH else 5000)
    tree.hwmon("1-0040", 1, [glitching, SimRail("VDD_SOC", 5000, 5000, lambda _: 1000)])
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(board(tree), "board", out, tmp_path / "none") as sampler:
        for moment in (S, GLITCH, 3 * S):
            tree.write(moment)
            more_lines(out, 20)  # the other rail goes on
        [source] = sampler.stop().sources
    assert {(line["rail"], line["mw"]) for line in lines_of(out)} == {("VDD_IN", 5000), ("VDD_SOC", 1000)}
    assert source.samples == len(lines_of(out))
    assert set(source.implausible) == {"VDD_IN"}
    assert source.implausible["VDD_IN"] >= 15


def test_the_profiles_limit_counts_in_place_of_the_boards(tree: FakeTree, tmp_path: Path) -> None:
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    tree.hwmon("1-0040", 1, [SimRail("VDD_IN", 5000, 5000, lambda t_ns: 150_000 if t_ns // S % 2 else 140_000)])
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(board(tree, max_mw=160_000), "board", out, tmp_path / "none") as sampler:
        for moment in (S, 2 * S):
            tree.write(moment)
            more_lines(out, 20)
        [source] = sampler.stop().sources
    assert source.implausible == {}
    assert min(line["mw"] for line in lines_of(out)) >= 140_000
