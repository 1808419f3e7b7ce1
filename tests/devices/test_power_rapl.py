"""RAPL's counters become power, across their end, and say what to do where they may not be read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.rapl import RaplPower, RaplSource
from devices.power.source import Surroundings
from devices.profile import Profile, Runtime
from tests.devices.lines import integrate_mj, lines_of, more_lines, wait_for_lines
from tests.fakes.server import energy_uj, fill, power_mw
from tests.fakes.sysfs import FakeTree, fresh, not_ours

SPEC = RaplPower(rate_hz=100, gain=0.05)
S = 1_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FakeTree]:
    tree = FakeTree(tmp_path / "root")
    fill(tree)
    yield tree
    tree.close()


def test_packages_and_memory_are_the_whole_and_what_is_inside_is_a_part(tree: FakeTree) -> None:
    source = RaplSource(SPEC, Surroundings(Path("none"), tree.root))
    assert {rail.name: rail.scope for rail in source.probe().rails} == {
        "package-0": "module",
        "package-0/core": "rail",
        "package-0/dram": "module",
        "package-1": "module",
        "psys": "rail",
    }
    source.close()


def test_a_profile_that_knows_what_psys_covers_may_say_so(tree: FakeTree) -> None:
    spec = RaplPower(rate_hz=100, gain=0.05, rails={"psys": "board"})
    source = RaplSource(spec, Surroundings(Path("none"), tree.root))
    assert {rail.name: rail.scope for rail in source.probe().rails if rail.scope != "rail"} == {"psys": "board"}
    source.close()


def test_power_is_right_across_the_end_of_the_counter(tree: FakeTree) -> None:
    now_ns = 1000 * S
    tree.write(now_ns)
    source = RaplSource(SPEC, Surroundings(Path("none"), tree.root), lambda: now_ns)
    source.probe()
    samples = []
    for _ in range(300):  # 60 J of package-1, six times its range
        now_ns += S // 100
        tree.write(now_ns)
        samples += [sample for sample in source.read() if sample.rail == "package-1"]
    source.close()
    assert len(samples) == 300
    for sample in samples:
        assert sample.mw == pytest.approx(power_mw(20_000, sample.t_ns), rel=1e-3)


def test_the_sampler_integrates_to_the_counters_energy(
    tree: FakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fresh(fill, tree.root).items():
        monkeypatch.setenv(name, value)
    profile = Profile(
        name="server", kind="host", reach="local", runtime=Runtime(provider="cpu"), root=str(tree.root), power=[SPEC]
    )
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(profile, "cloud", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 10)
        start_ns = time.monotonic_ns()
        wait_for_lines(out, 5 * 120)
        end_ns = time.monotonic_ns()
        more_lines(out, 20)
        sampler.stop()
    rows = [line for line in lines_of(out) if line["rail"] == "package-0"]
    truth_mj = (energy_uj(40_000, end_ns) - energy_uj(40_000, start_ns)) / 1000
    assert integrate_mj(rows, start_ns, end_ns) == pytest.approx(truth_mj, rel=0.03)
    assert {row["source"] for row in rows} == {"rapl"}


def test_a_machine_without_rapl_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no RAPL zone under .*powercap; virtual machines have none"):
        RaplSource(SPEC, Surroundings(Path("none"), tmp_path)).probe()


def test_a_counter_that_is_roots_alone_says_what_to_do() -> None:
    with (
        not_ours(fill, "sys/class/powercap/intel-rapl:0/energy_uj") as tree,
        pytest.raises(DeviceError, match=r"energy_uj: may not be read; since Linux 5\.10 .*`sudo chmod a\+r"),
    ):
        RaplSource(SPEC, Surroundings(Path("none"), tree.root)).probe()


def test_garbage_in_place_of_a_count_is_an_error(tree: FakeTree) -> None:
    source = RaplSource(SPEC, Surroundings(Path("none"), tree.root))
    source.probe()
    with (tree.root / "sys/class/powercap/intel-rapl:1/energy_uj").open("r+b") as file:
        file.write(b"much            ")
    with pytest.raises(DeviceError, match=r"energy_uj: zone package-1 reads b'much"):
        source.read()
    source.close()
