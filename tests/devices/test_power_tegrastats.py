"""The sampler runs a tegrastats that replays a log in time, and believes it no further than it can be believed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.jtop import JtopPower
from devices.power.tegrastats import TegrastatsPower
from devices.profile import Profile, Runtime, load_profile
from devices.tegrastats import parse
from tests.devices.tegrastats_lines import L4T_28, L4T_32_NOT_ROOT, L4T_35, L4T_38, L4T_39
from tests.devices.test_power_sampler import has_ended, integrate_mj

FAKE = Path(__file__).parents[1] / "fakes" / "tegrastats"
DATA = os.environ.get("TESTBED_DATA")
TX2, ORIN, THOR = "quill", "NVIDIA Jetson AGX Orin Developer Kit", "NVIDIA Jetson AGX Thor Developer Kit"
PROFILE = """\
name: orin
kind: jetson
reach: local
runtime: {provider: cpu}
power:
  - source: tegrastats
    rate_hz: 10
    command: [sudo, -n, tegrastats]
    rails: {VDD_IN: module}
  - source: jtop
    rate_hz: 2
"""
T_END_S = 60
STEP_MS = 5


class Node:
    """A Jetson whose tegrastats replays what it is given, and where the samples go."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.out, self._control = folder / "root", folder / "power.jsonl", folder / "control"
        self._log = folder / "tegrastats.log"
        patch.setenv("FAKE_TEGRASTATS_LOG", str(self._log))
        patch.setenv("FAKE_TEGRASTATS_CONTROL", str(self._control))
        patch.setenv("FAKE_TEGRASTATS_STEP_MS", str(STEP_MS))
        self.t0_ns = time.monotonic_ns()
        patch.setenv("FAKE_TEGRASTATS_T0_NS", str(self.t0_ns))

    def replays(self, lines: list[str], model: str = ORIN) -> Node:
        self._log.write_text("\n".join(lines) + "\n")
        tree = self.root / "proc" / "device-tree"
        tree.mkdir(parents=True)
        (tree / "model").write_text(model + "\0")
        return self

    def order(self, what: str) -> None:
        self._control.write_text(what)

    def profile(self, **power: Any) -> Profile:
        spec = TegrastatsPower(**({"rate_hz": 50, "command": (str(FAKE),)} | power))
        runtime = Runtime(provider="cpu")
        return Profile(name="orin", kind="jetson", reach="local", runtime=runtime, power=[spec], root=str(self.root))

    def start(self, **power: Any) -> PowerSampler:
        return PowerSampler.start(self.profile(**power), "orin-1", self.out, Path("no-activity"))

    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.out.read_bytes().splitlines()]

    def wait_for_samples(self, more: int) -> None:
        count = more + (self.out.read_bytes().count(b"\n") if self.out.exists() else 0)
        deadline = time.monotonic() + 20
        while not self.out.exists() or self.out.read_bytes().count(b"\n") < count:
            assert time.monotonic() < deadline, "the sampler wrote nothing"
            time.sleep(0.005)

    def error_of(self, sampler: PowerSampler) -> str:
        """Why a sampler ended of itself."""
        assert has_ended(sampler.pid, timeout_s=20)
        with pytest.raises(DeviceError) as caught:
            sampler.stop()
        return str(caught.value)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def child_of(sampler: PowerSampler) -> psutil.Process:
    (child,) = psutil.Process(sampler.pid).children()
    return child


def ramp(line: str, share: dict[str, float]) -> list[str]:
    """A log in which each rail rises from 3 W by 0.6 W/s, times its share; value 2 is the mean since the start."""

    def mw(t_s: float) -> float:
        return 3000 + 600 * t_s

    def at(t_s: float) -> Callable[[re.Match[str]], str]:
        def values(found: re.Match[str]) -> str:
            now, mean = (round(share[found[1]] * mw(t)) for t in (t_s, t_s / 2))
            third = "" if found[5] is None else f"/{now}{found[3]}"
            return f"{found[1]} {now}{found[3]}/{mean}{found[3]}{third}"

        return values

    rail = re.compile(rf"\b({'|'.join(share)}) (\d+)(mW|)/(\d+)\3(/\d+\3)?")
    assert len(rail.findall(line)) == len(share)
    return [rail.sub(at(step * STEP_MS / 1000), line) for step in range(T_END_S * 1000 // STEP_MS)]


@pytest.mark.parametrize(
    ("line", "model", "share"),
    [
        (L4T_28, TX2, {"VDD_IN": 1.0}),
        (L4T_35, ORIN, {"VDD_GPU_SOC": 0.5, "VDD_CPU_CV": 0.2, "VIN_SYS_5V0": 0.3}),
        (L4T_39, THOR, {"VIN": 1.0}),
    ],
)
def test_energy_of_a_known_ramp_is_read_back(node: Node, line: str, model: str, share: dict[str, float]) -> None:
    with node.replays(ramp(line, share), model).start() as sampler:
        rails = len(sampler.capabilities[0].rails)
        node.wait_for_samples(50 * rails)
        sampler.stop()
    whole = [[row for row in node.lines() if row["rail"] == rail] for rail in share]
    start_ns, end_ns = whole[0][0]["t_ns"], whole[0][-1]["t_ns"]
    middle_s = ((start_ns + end_ns) / 2 - node.t0_ns) / 1e9
    truth_mj = (3000 + 600 * middle_s) * (end_ns - start_ns) / 1e9
    energy_mj = sum(integrate_mj(rows, start_ns, end_ns) for rows in whole)
    assert energy_mj == pytest.approx(truth_mj, rel=0.03)
    assert {row["scope"] for rows in whole for row in rows} == {"board" if model == THOR else "module"}


def test_the_capability_says_what_is_known_and_no_more(node: Node) -> None:
    with node.replays([L4T_35]).start(rate_hz=25) as sampler:
        (capability,) = sampler.capabilities
        (source,) = sampler.stop().sources
    rails = {rail.name: (rail.scope, rail.gain, rail.offset_mw, round(rail.lsb_mw)) for rail in capability.rails}
    # 2 mΩ: 40 µV are 20 mA, which are 400 mW at 20 V and 100 mW at 5 V; the print adds 1 mW. At 5 V, the 0.8 A that
    # 4025 mW are make 6 mW of the step of the voltage (8 mV), which adds as squares.
    assert rails == {
        "VDD_GPU_SOC": ("module", 0.0025, 800, 401),
        "VDD_CPU_CV": ("module", 0.0025, 800, 401),
        "VIN_SYS_5V0": ("module", 0.0025, 200, 101),
        "VDDQ_VDD2_1V8AO": ("rail", 0.0025, 0, 1),
    }
    assert source.check.warnings == []
    assert capability.averaging_ms is None
    assert capability.detail["command"] == [str(FAKE), "--interval", "40"]


def test_limits_that_nobody_knows_are_said_to_be_unknown(node: Node) -> None:
    with node.replays([L4T_28], TX2).start() as sampler:
        (capability,) = sampler.capabilities
        (source,) = sampler.stop().sources
    (warning,) = source.check.warnings
    assert "offset and step of VDD_IN on this board are not known" in warning
    assert {(rail.offset_mw, rail.lsb_mw) for rail in capability.rails} == {(0, 1)}


def test_the_profile_may_name_the_rails_of_a_board_that_nobody_knows(node: Node) -> None:
    node.replays([L4T_28], "Somebody's own board")
    with pytest.raises(DeviceError, match="no rails are known of the board `Somebody's own board`"):
        node.start()
    with node.start(rails={"VDD_IN": "board"}) as sampler:
        scopes = {rail.name: rail.scope for rail in sampler.capabilities[0].rails}
    assert scopes == {"VDD_IN": "board", "VDD_CPU": "rail", "VDD_WIFI": "rail"}


def test_the_profile_may_name_the_board(node: Node) -> None:
    with node.replays([L4T_38], "").start(board="Jetson AGX Thor") as sampler:
        assert {rail.scope for rail in sampler.capabilities[0].rails} == {"module"}


def test_a_release_that_prints_no_power_says_what_to_do(node: Node) -> None:
    with pytest.raises(DeviceError, match=r"prints no power here; .* run as root .*source: ina`"):
        node.replays([L4T_32_NOT_ROOT]).start()


def test_a_node_without_tegrastats_says_so(node: Node) -> None:
    with pytest.raises(DeviceError, match="tegrastats: there is no program `/nonexistent/tegrastats` on this node"):
        node.replays([L4T_35]).start(command=("/nonexistent/tegrastats",))


def test_a_program_that_prints_nothing_is_an_error(node: Node) -> None:
    node.order("stall")
    with pytest.raises(DeviceError, match=r"tegrastats printed nothing within 5\.02 s of its start"):
        node.replays([L4T_35]).start()


def test_a_program_that_fails_at_once_is_quoted(node: Node) -> None:
    node.order("die")
    with pytest.raises(DeviceError, match=r"tegrastats ended with exit code 3: tegrastats: the sensor is on fire"):
        node.replays([L4T_35]).start()


def test_a_profile_with_tegrastats_and_jtop_is_read(tmp_path: Path) -> None:
    file = tmp_path / "orin.yaml"
    file.write_text(PROFILE)
    assert load_profile(file).power == [
        TegrastatsPower(rate_hz=10, command=("sudo", "-n", "tegrastats"), rails={"VDD_IN": "module"}),
        JtopPower(rate_hz=2),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate_hz: 10", "rate_hz: 200", ":7: power[0].rate_hz: Expected `float` <= 100"),
        ("rate_hz: 10", "rate_hz: .nan", ":7: power[0].rate_hz: Expected"),
        ("[sudo, -n, tegrastats]", "[]", ":8: power[0].command: Expected `array` of length >= 1"),
        ("{VDD_IN: module}", "{VDD_IN: everything}", ":9: power[0].rails: Invalid enum value 'everything'"),
        ("rate_hz: 2", "rate_hz: 5", ":11: power[1].rate_hz: Expected `float` <= 2"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "orin.yaml"
    file.write_text(PROFILE.replace(old, new))
    with pytest.raises(DeviceError) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}{message}")


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("stall", r"tegrastats stalled: nothing for 2 s, at an interval of 0\.02 s"),
        ("garbage", r"tegrastats printed what is no line of its own: '\\x07not a line of tegrastats'"),
        ("die", r"tegrastats ended with exit code 3: tegrastats: the sensor is on fire"),
        ("close", r"tegrastats closed its output and runs on"),
        ("VIN_SYS_5V0=>VIN_OTHER", r"tegrastats no longer gives VIN_SYS_5V0: '04-11-2025 "),
    ],
)
def test_what_goes_wrong_later_ends_the_sampling_and_is_told(node: Node, what: str, error: str) -> None:
    with node.replays([L4T_35]).start() as sampler:
        child = child_of(sampler)
        node.wait_for_samples(4)
        node.order(what)
        assert re.match(r"orin-1: power sampling failed: " + error, node.error_of(sampler))
        assert has_ended(child.pid, timeout_s=20)


def test_a_killed_tegrastats_is_an_error(node: Node) -> None:
    with node.replays([L4T_35]).start() as sampler:
        child_of(sampler).kill()
        assert "tegrastats ended by signal SIGKILL" in node.error_of(sampler)


def test_lines_that_waited_while_the_sampler_stood_still_get_no_time(node: Node) -> None:
    with node.replays([L4T_35]).start() as sampler:
        node.wait_for_samples(8)
        os.kill(sampler.pid, signal.SIGSTOP)
        stopped_ns = time.monotonic_ns()
        time.sleep(2.5)  # longer than a stall: the lines are in the pipe
        continued_ns = time.monotonic_ns()
        os.kill(sampler.pid, signal.SIGCONT)
        node.wait_for_samples(16)
        (source,) = sampler.stop().sources
    assert source.check.detail["lines_without_time"] > 0
    times = [row["t_ns"] for row in node.lines()]
    assert not [t_ns for t_ns in times if stopped_ns + 50_000_000 < t_ns < continued_ns]
    assert len([t_ns for t_ns in times if continued_ns <= t_ns < continued_ns + 5_000_000]) <= 2 * 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_tegrastats_ends_with_a_killed_sampler_also_when_it_prints_nothing(node: Node, number: signal.Signals) -> None:
    with node.replays([L4T_35]).start() as sampler:
        child = child_of(sampler)
        node.order("stall")
        assert not has_ended(child.pid, timeout_s=0.1)
        os.kill(sampler.pid, number)
        assert has_ended(child.pid, timeout_s=20)


def test_tegrastats_ends_when_the_sampling_is_stopped(node: Node) -> None:
    with node.replays([L4T_35]).start() as sampler:
        child = child_of(sampler)
        assert Path(child.cmdline()[1]) == FAKE
        node.wait_for_samples(1)
        sampler.stop()
        assert has_ended(child.pid, timeout_s=0)


PARENT = """
import sys, pathlib, signal
import msgspec
from devices.power.client import PowerSampler
from devices.profile import Profile
profile = msgspec.json.decode(sys.argv[2], type=Profile)
sampler = PowerSampler.start(profile, "orin-1", pathlib.Path(sys.argv[1]), pathlib.Path("no-activity"))
print(sampler.pid, flush=True)
signal.pause()
"""


def test_a_killed_parent_leaves_neither_sampler_nor_tegrastats(node: Node) -> None:
    profile = msgspec.json.encode(node.replays([L4T_35]).profile()).decode()
    command = [sys.executable, "-c", PARENT, str(node.out), profile]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        sampler = psutil.Process(int(parent.stdout.readline()))
        (child,) = sampler.children()
        node.wait_for_samples(4)
        parent.kill()
    assert has_ended(sampler.pid, timeout_s=20)
    assert has_ended(child.pid, timeout_s=20)


def test_a_tether_to_a_parent_that_is_gone_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "devices.tether", "999999999", "touch", str(tmp_path / "started")]
    assert subprocess.run(command, check=False).returncode == 1
    assert not list(tmp_path.iterdir())


def test_a_tethered_program_ends_when_nobody_reads_it() -> None:
    command = [sys.executable, "-m", "devices.tether", str(os.getpid()), "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(20) == -signal.SIGPIPE


@pytest.mark.skipif(not DATA, reason="TESTBED_DATA names no folder of real lines and logs")
@pytest.mark.parametrize(
    ("log", "board"),
    [
        ("nano_1", "Jetson Nano"),
        ("tx2_1", "Jetson TX2"),
        ("xavier-nx_1", "Jetson Xavier NX"),
        ("agx-orin64_1", "Jetson AGX Orin"),
    ],
)
def test_a_real_log_is_sampled_as_it_stands(node: Node, log: str, board: str) -> None:
    text = (Path(DATA or "") / "tegrastats" / f"{log}.log").read_text().splitlines()
    readings = [reading for reading in map(parse, text) if reading]
    with node.replays(text, "").start(board=board, rate_hz=100) as sampler:
        capability = sampler.capabilities[0]
        node.wait_for_samples(40 * len(capability.rails))
        sampler.stop()
    whole = {rail.name for rail in capability.rails if rail.scope == "module"}
    assert whole == set(readings[0].whole or ())
    printed = {rail: {reading.power_mw[rail] for reading in readings} for rail in readings[0].power_mw}
    assert all(row["mw"] in printed[row["rail"]] for row in node.lines())
