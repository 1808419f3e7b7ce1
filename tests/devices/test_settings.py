"""Settings of a run on a made-up Orin with NVIDIA's tools as executables: made, read back, undone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devices.base.errors import DeviceError
from devices.machine import Machine, NeedsRootError
from devices.profile import Settings
from devices.settings.applied import AppliedSettings, put_back, put_back_left_behind, unmet
from tests.fakes.board import FakeBoard

ROOT = Path(__file__).parents[2]
ALL = Settings(nvpmodel="MAXN_SUPER", jetson_clocks=True, cpu_governor="performance")
APPLY_AND_DIE = """
import os, signal, sys
from pathlib import Path
import msgspec
from devices.machine import Machine
from devices.profile import Settings
from devices.settings.applied import AppliedSettings
settings = msgspec.json.decode(sys.argv[2], type=Settings)
AppliedSettings(Machine(Path(sys.argv[1])), settings, "run 7, repeat 2, as orin-01")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return FakeBoard(tmp_path / "board").as_seen_from_here(monkeypatch)


def apply(board: FakeBoard, settings: Settings, *, is_root: bool | None = None) -> AppliedSettings:
    return AppliedSettings(Machine(board.root, is_root), settings, "run 7, repeat 2, as orin-01")


def apply_and_die(board: FakeBoard, settings: str) -> None:
    command = [sys.executable, "-c", APPLY_AND_DIE, str(board.root), settings]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL


def test_settings_are_made_and_put_back(board: FakeBoard) -> None:
    before = board.settings
    applied = apply(board, ALL)
    assert applied.changes == [
        "power mode 15W (0) → MAXN_SUPER (2)",
        "CPU governor schedutil → performance",
        "clocks free → fixed by jetson_clocks",
    ]
    assert board.mode == 2
    assert board.get("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor") == "performance"
    assert board.get("sys/devices/system/cpu/cpu1/cpufreq/scaling_min_freq") == "1510400"
    assert board.get("sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked") == "1"
    assert len(board.journals) == 1
    assert applied.restore() == applied.changes[::-1]
    assert board.settings == before
    assert board.journals == []
    assert applied.restore() == []


def test_what_is_so_already_is_not_changed(board: FakeBoard) -> None:
    applied = apply(board, Settings(nvpmodel=0, cpu_governor="schedutil"))
    assert applied.changes == []
    assert board.journals == []
    assert not any("-m" in call for call in board.calls)


def test_a_worker_killed_between_change_and_restore_is_made_good_by_the_next_contact(board: FakeBoard) -> None:
    before = board.settings
    apply_and_die(board, '{"nvpmodel":2,"jetson_clocks":true,"cpu_governor":"performance"}')
    assert board.settings != before
    (line,) = put_back(Machine(board.root))
    assert line.startswith("put back what run 7, repeat 2, as orin-01 left changed: clocks free")
    assert board.settings == before
    assert put_back(Machine(board.root)) == []


def test_after_a_reboot_the_power_mode_is_put_back_and_the_rest_is_known_gone(board: FakeBoard) -> None:
    before = board.settings
    apply_and_die(board, '{"nvpmodel":2,"jetson_clocks":true}')
    board.boot()
    (found,) = put_back_left_behind(Machine(board.root))
    assert found.restored == [
        "clocks free → fixed by jetson_clocks (undone by the reboot since)",
        "power mode 15W (0) → MAXN_SUPER (2)",
    ]
    assert "jetson_clocks --restore" not in board.calls
    assert board.settings == before


def test_a_power_mode_that_needs_a_reboot_is_refused_and_the_board_never_reboots(board: FakeBoard) -> None:
    before = board.settings
    with pytest.raises(DeviceError, match=r"power mode 7W \(3\) would need a reboot, which the testbed never does"):
        apply(board, Settings(nvpmodel="7W"))
    assert board.settings == before
    assert board.journals == []
    assert not (board.root / "rebooted").exists()
    (reason,) = unmet(Machine(board.root), Settings(nvpmodel=3)).values()
    assert "usually needs a reboot" in str(reason)


def test_an_unknown_power_mode_is_refused_with_those_that_there_are(board: FakeBoard) -> None:
    with pytest.raises(DeviceError, match=r"no power mode MAXN .* 15W \(0\), 25W \(1\), MAXN_SUPER \(2\), 7W \(3\)"):
        apply(board, Settings(nvpmodel="MAXN"))


def test_when_a_later_setting_fails_the_earlier_ones_are_put_back(board: FakeBoard) -> None:
    before = board.settings
    with pytest.raises(DeviceError, match="cpu_governor ondemand: cpu0 has conservative, performance, schedutil"):
        apply(board, Settings(nvpmodel=1, cpu_governor="ondemand"))
    assert board.settings == before
    assert board.journals == []


def test_what_cannot_be_put_back_is_named_with_what_is_left(board: FakeBoard) -> None:
    before = board.settings
    applied = apply(board, ALL)
    board.put("broken/jetson_clocks", "")
    with pytest.raises(DeviceError, match=r"left changed by run 7.*scaling_min_freq is 1510400, was 729600"):
        applied.restore()
    assert board.mode == 0  # the others are put back
    (board.root / "broken/jetson_clocks").unlink()
    applied.restore()
    assert board.settings == before


def test_a_power_mode_that_stays_is_an_error_for_the_next_run_too(board: FakeBoard) -> None:
    apply_and_die(board, '{"nvpmodel":2}')
    board.put("broken/nvpmodel", "")
    with pytest.raises(DeviceError, match=r"nvpmodel -m 0 left the power mode at MAXN_SUPER \(2\).*failed to set"):
        put_back(Machine(board.root))
    (board.root / "broken/nvpmodel").unlink()
    assert put_back(Machine(board.root))
    assert board.mode == 0


def test_two_runs_do_not_set_the_same_thing(board: FakeBoard) -> None:
    before = board.settings
    first = apply(board, Settings(nvpmodel=2))
    with pytest.raises(DeviceError, match="nvpmodel of this machine is changed by another run, run 7, repeat 2"):
        apply(board, Settings(nvpmodel=1))
    assert board.mode == 2
    second = apply(board, Settings(cpu_governor="performance"))
    first.restore()
    second.restore()
    assert board.settings == before


def test_without_root_it_is_said_what_needs_root(board: FakeBoard) -> None:
    with pytest.raises(NeedsRootError, match=r"`nvpmodel -m 2` needs root, and .* is not: connect as root, or let"):
        apply(board, Settings(nvpmodel=2), is_root=False)
    assert board.journals == []
    (reason,) = unmet(Machine(board.root, is_root=False), Settings(jetson_clocks=True)).values()
    assert "needs root" in str(reason)


def test_a_user_whom_sudoers_lets_run_the_tools_can_set_and_put_back(board: FakeBoard) -> None:
    before = board.settings
    board.put("sudoers", "nvpmodel\njetson_clocks\ncat")
    wanted = Settings(nvpmodel=2, jetson_clocks=True)
    assert list(unmet(Machine(board.root, is_root=False), wanted).values()) == [None, None]
    applied = apply(board, wanted, is_root=False)
    assert "sudo nvpmodel" in board.calls
    assert board.mode == 2
    applied.restore()
    assert board.settings == before


def test_gpu_clocks_are_locked_and_let_go(board: FakeBoard) -> None:
    board.gpu(index="0", locked="no")
    applied = apply(board, Settings(gpu_clocks_mhz=1410))
    assert "locked=1410,1410" in board.get("gpu")
    applied.restore()
    assert "locked=no" in board.get("gpu")


def test_a_gpu_clock_that_the_driver_cuts_is_refused(board: FakeBoard) -> None:
    board.gpu(index="0", locked="no")
    with pytest.raises(DeviceError, match=r"GPU 0 was not locked at 2500 MHz.*gpuClkMin 1980.*SUPPORTED_CLOCKS"):
        apply(board, Settings(gpu_clocks_mhz=2500))
    assert "locked=no" in board.get("gpu")


def test_settings_that_this_machine_cannot_make_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = Settings(nvpmodel=0, cpu_governor="performance", jetson_clocks=True, gpu_clocks_mhz=1000)
    reasons = unmet(Machine(tmp_path), wanted)
    assert set(reasons) == {"nvpmodel 0", "cpu_governor performance", "jetson_clocks", "gpu_clocks_mhz 1000"}
    assert all(reasons.values())
    with pytest.raises(DeviceError, match="no power mode 0 on this board; it has none"):
        AppliedSettings(Machine(tmp_path), wanted, "run 1")


def test_a_setting_whose_undoing_cannot_be_written_down_cannot_be_made(board: FakeBoard) -> None:
    """As where the home folder is read-only: a run would refuse it."""
    wanted = Settings(cpu_governor="performance")
    assert list(unmet(Machine(board.root), wanted).values()) == [None]
    journal = board.root / "var/lib/neucodex-testbed"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("a file is in its place")
    assert list(unmet(Machine(board.root), wanted).values()) == [f"what undoes it cannot be written to {journal}"]
    with pytest.raises(DeviceError, match="the undo journal cannot be kept there"):
        AppliedSettings(Machine(board.root), wanted, "a run")
