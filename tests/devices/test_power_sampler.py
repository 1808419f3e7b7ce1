from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.activity import Activity, ActivityWriter
from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.emulated import EmulatedPower
from devices.profile import Profile, Runtime
from devices.radios import RADIOS
from tests.devices.lines import integrate_mj, lines_of, unseen_s, wait_for_lines

MW = {Activity.IDLE: 1000.0, Activity.CPU: 9000.0}

MakeProfile = Callable[..., Profile]


class Board:
    """A worker's side: the activity file, and where the samples go."""

    def __init__(self, folder: Path) -> None:
        self.activity = folder / "activity"
        self.out = folder / "power.jsonl"
        self.writer = ActivityWriter(self.activity)

    def start(self, profile: Profile) -> PowerSampler:
        return PowerSampler.start(profile, "edge-1", self.out, self.activity)

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.out)

    def wait_for_samples(self, count: int) -> None:
        wait_for_lines(self.out, count)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path)
    yield board
    board.writer.close()


def has_ended(pid: int, timeout_s: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], timeout_s)[0])
    finally:
        os.close(pidfd)


def test_energy_of_a_known_pattern_is_right(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    pattern = [(Activity.IDLE, 0.1)]
    pattern += [(Activity.CPU, 0.037), (Activity.IDLE, 0.034)] * 10
    pattern += [(Activity.IDLE, 0.1)]
    with board.start(make_profile(power)) as sampler:
        board.wait_for_samples(2)
        truth_mj = 0.0
        start_ns = previous_ns = time.monotonic_ns()
        for activity, duration_s in pattern:
            board.writer.set(activity)
            time.sleep(duration_s)
            now_ns = time.monotonic_ns()
            truth_mj += MW[activity] * (now_ns - previous_ns) / 1e9
            previous_ns = now_ns
        board.wait_for_samples(len(board.lines()) + 3)
        report = sampler.stop()
    lines = board.lines()
    # Of a pause only the mean is known, not when in it the board was busy.
    unknown_mj = (MW[Activity.CPU] - MW[Activity.IDLE]) * unseen_s(lines)
    assert integrate_mj(lines, start_ns, previous_ns) == pytest.approx(truth_mj, abs=0.03 * truth_mj + unknown_mj)
    assert report.samples == len(lines)
    assert report.samples + report.missed > 50


def test_samples_name_node_source_rail_and_scope(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    with board.start(make_profile(power)) as sampler:
        assert [rail.name for capability in sampler.capabilities for rail in capability.rails] == ["VDD_IN"]
        assert sampler.capabilities[0].detail["reference"] == power.reference
        assert sampler.capabilities[0].detail["radio"] is None
        before_ns = time.monotonic_ns()
        board.wait_for_samples(len(board.lines()) + 3)
        sampler.stop()
    last = board.lines()[-1]
    assert before_ns < last.pop("t_ns") < time.monotonic_ns()
    assert last == {
        "node": "edge-1",
        "source": "emulated",
        "rail": "VDD_IN",
        "scope": "emulated",
        "mw": 1000.0,
    }


def test_the_radio_is_named_with_its_source(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    profile = make_profile(power)
    with PowerSampler.start(profile, "edge-1", board.out, board.activity, radio=RADIOS["lte"]) as sampler:
        told = sampler.capabilities[0].detail["radio"]
    assert (told["name"], told["source"], told["tail_s"]) == (RADIOS["lte"].name, RADIOS["lte"].source, 11.576)


def test_deadlines_are_absolute_and_each_is_met_or_counted_as_missed(
    board: Board, make_profile: MakeProfile, power: EmulatedPower
) -> None:
    with board.start(make_profile(power)) as sampler:
        board.wait_for_samples(60)
        report = sampler.stop()
    lines = board.lines()
    periods = (lines[-1]["t_ns"] - lines[0]["t_ns"]) / 1e7
    # A sample is stamped with the middle of its time, which may have been a pause.
    assert report.samples + report.missed - 1 == pytest.approx(periods, abs=3 + unseen_s(lines) / 0.01)
    assert sum(report.histogram.values()) == report.samples
    assert report.lateness_us.p50 <= report.lateness_us.p99 <= report.lateness_us.max


def test_a_stalled_sampler_counts_what_it_missed_and_loses_no_energy(
    board: Board, make_profile: MakeProfile, power: EmulatedPower
) -> None:
    board.writer.set(Activity.CPU)
    with board.start(make_profile(power)) as sampler:
        board.wait_for_samples(3)
        os.kill(sampler.pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(sampler.pid, signal.SIGCONT)
        board.wait_for_samples(len(board.lines()) + 3)
        report = sampler.stop()
    assert report.missed >= 15
    assert report.lateness_us.max >= 150_000
    assert {line["mw"] for line in board.lines()} == {9000.0}


def test_two_sources_keep_their_own_rates(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    slow = msgspec.structs.replace(power, rail="SLOW", rate_hz=20)
    with board.start(make_profile(power, slow)) as sampler:
        board.wait_for_samples(60)
        fast, slow = sampler.stop().sources
    assert (fast.rails, slow.rails) == (["VDD_IN"], ["SLOW"])
    assert (fast.samples + fast.missed) / (slow.samples + slow.missed) == pytest.approx(5, rel=0.3)


def test_a_source_that_cannot_be_read_is_an_error_before_the_start(
    board: Board, make_profile: MakeProfile, power: EmulatedPower
) -> None:
    with pytest.raises(DeviceError, match=r"edge-1: power sampling failed: .*no activity record"):
        PowerSampler.start(make_profile(power), "edge-1", board.out, board.activity.with_name("absent"))


def test_a_node_without_power_sources_has_nothing_to_sample(board: Board) -> None:
    host = Profile(name="host", kind="host", reach="local", runtime=Runtime(provider="cpu"))
    with pytest.raises(DeviceError, match="host has no power source"):
        board.start(host)


def test_a_sampler_that_is_not_ready_in_time_is_ended(
    board: Board, make_profile: MakeProfile, power: EmulatedPower, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def recording_popen(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(real(*args, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", recording_popen)
    with pytest.raises(DeviceError, match="did not answer within 0 s"):
        PowerSampler.start(make_profile(power), "edge-1", board.out, board.activity, timeout_s=0)
    assert processes[0].returncode == -signal.SIGKILL


def test_a_read_failure_ends_the_sampler_and_is_told(
    board: Board, make_profile: MakeProfile, power: EmulatedPower
) -> None:
    with board.start(make_profile(power)) as sampler:
        board.wait_for_samples(2)
        assert sampler.alive
        with board.activity.open("r+b") as file:
            file.write(b"\x01")  # an odd sequence number: a writer that died while writing
        assert has_ended(sampler.pid, timeout_s=20)
        assert not sampler.alive
        with pytest.raises(DeviceError, match=r"edge-1: power sampling failed: .*half-written"):
            sampler.stop()


def test_a_full_disk_is_an_error(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    with PowerSampler.start(make_profile(power), "edge-1", Path("/dev/full"), board.activity) as sampler:
        assert has_ended(sampler.pid, timeout_s=20)
        with pytest.raises(DeviceError, match="/dev/full: cannot be written: No space left"):
            sampler.stop()


def test_a_killed_sampler_is_an_error(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    with board.start(make_profile(power)) as sampler:
        os.kill(sampler.pid, signal.SIGKILL)
        assert has_ended(sampler.pid, timeout_s=20)
        with pytest.raises(DeviceError, match=r"ended without a word \(exit code -9\)"):
            sampler.stop()


def test_stopping_twice_gives_the_same_report(board: Board, make_profile: MakeProfile, power: EmulatedPower) -> None:
    sampler = board.start(make_profile(power))
    board.wait_for_samples(1)
    assert sampler.stop() == sampler.stop()
    assert not sampler.alive


def test_terminal_signals_do_not_reach_the_sampler(
    board: Board, make_profile: MakeProfile, power: EmulatedPower
) -> None:
    with board.start(make_profile(power)) as sampler:
        assert os.getsid(sampler.pid) == sampler.pid


PARENT = """
import sys, pathlib, signal
import msgspec
from devices.activity import ActivityWriter
from devices.power.client import PowerSampler
from devices.profile import Profile
folder = pathlib.Path(sys.argv[1])
profile = msgspec.json.decode(sys.argv[2], type=Profile)
writer = ActivityWriter(folder / "parent-activity")
sampler = PowerSampler.start(profile, "edge-1", folder / "power.jsonl", folder / "parent-activity")
print(sampler.pid, flush=True)
signal.pause()
"""


def test_a_killed_parent_leaves_no_sampler_and_every_sample_it_took(
    board: Board, make_profile: MakeProfile, power: EmulatedPower, tmp_path: Path
) -> None:
    arguments = [str(tmp_path), msgspec.json.encode(make_profile(power)).decode()]
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        board.wait_for_samples(3)
        assert not has_ended(pid, timeout_s=0)
        parent.kill()
    assert has_ended(pid, timeout_s=20)
    assert board.out.read_bytes().endswith(b"\n")
    assert len(board.lines()) >= 3
