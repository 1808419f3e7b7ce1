"""`testbed check` as its own process, on made-up boards and on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from devices.base.power import Capability, PowerRow, Rail
from devices.machine import Machine
from devices.profile import Profile, Runtime, Settings, SshReach, load_profile
from devices.settings.applied import AppliedSettings
from testbed.check import _remedy, check
from testbed.errors import DeployError, LoginError, WorkerError
from testbed.experiment.spec import Deadlines
from testbed.orchestrator import Worker
from testbed.probe import probe
from testbed.worker.check import speed
from testbed.worker.check.machine import check_data_plane, check_throttle
from testbed.worker.check.power import power_line
from testbed.worker.check.software import check_runtime
from testbed.worker.check.speed import _fastest, check_speed
from tests.fakes.board import FakeBoard

ROOT = Path(__file__).parents[2]
EMULATED = ROOT / "devices/emulated-orin-nano.yaml"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    return FakeBoard(tmp_path / "board").as_seen_from_here(monkeypatch)


def device(folder: Path, name: str, **keys: Any) -> Path:
    profile = {"name": name, "kind": "host", "reach": "local", "runtime": {"provider": "cpu"}, "power": []} | keys
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


def run_check(*devices: Path, columns: int = 200) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "testbed", "check", *map(str, devices)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def line(out: str, what: str) -> str:
    """The line about something with what to do below it, in one."""
    found = re.search(rf"^((?:ok|warning|failed) +{re.escape(what)} .*(?:\n +\S.*)*)", out, re.MULTILINE)
    assert found, f"nothing about {what} in:\n{out}"
    return " ".join(found[1].split())


def test_a_board_in_order_is_ready_and_says_what_it_is(board: FakeBoard, tmp_path: Path) -> None:
    board.at(3)
    settings = {"nvpmodel": "MAXN_SUPER", "jetson_clocks": True, "cpu_governor": "performance"}
    jetson = device(tmp_path, "orin-01", kind="jetson", root=str(board.root), settings=settings)
    before = board.settings
    code, out, err = run_check(jetson, EMULATED)
    assert (code, err) == (0, "")
    jetson_lines, _, emulated_lines = out.partition("emulated-orin-nano")
    assert "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3, JetPack 6.2+b77" in line(jetson_lines, "board")
    assert "15W (0); the board has 15W (0), 25W (1), MAXN_SUPER (2), 7W (3)" in line(jetson_lines, "power mode")
    assert jetson_lines.count("can be made, and put back after each repeat") == 3
    assert "ok throttling never since boot (4 counters)" in line(jetson_lines, "throttling")
    assert "ok temperature 46.5 °C at most (cpu-thermal)" in line(jetson_lines, "temperature")
    assert "its energy stays blank → name a source" in line(jetson_lines, "metering")
    assert re.search(r"its clock is ahead of this machine's by -?0\.\d+ ± \d\.\d+ ms", line(jetson_lines, "worker"))
    assert re.search(
        r"ok power: emulated VDD_IN \(emulated\) 5\.20 W; [\d.]+ samples/s of 100",
        line(emulated_lines, "power: emulated"),
    )
    assert board.settings == before  # looking changes nothing


def test_what_an_earlier_run_left_behind_is_put_back_and_said(board: FakeBoard, tmp_path: Path) -> None:
    before = board.settings
    code = (
        "import os, signal; from pathlib import Path; from devices.machine import Machine; from devices.profile import "
        "Settings; from devices.settings.applied import AppliedSettings; "
        f"AppliedSettings(Machine(Path({str(board.root)!r})), Settings(nvpmodel=2), 'run 7, repeat 2, as orin-01'); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert board.mode == 2
    jetson = device(tmp_path, "orin-01", kind="jetson", root=str(board.root))
    board.put("broken/nvpmodel", "")
    status, out, err = run_check(jetson)
    assert status == 1
    assert "testbed: not ready to measure: orin-01" in err
    assert "by run 7, repeat 2, as orin-01: power mode 15W (0) → MAXN_SUPER (2): nvpmodel -m 0 left" in line(
        out, "left behind"
    )
    assert "failed worker" in line(out, "worker")
    (board.root / "broken/nvpmodel").unlink()
    status, out, _ = run_check(jetson)
    assert status == 0
    assert (
        "ended without putting back: power mode 15W (0) → MAXN_SUPER (2) → nothing: it has been put back now"
        in line(out, "left behind")
    )
    assert board.settings == before


def test_settings_that_a_living_run_has_made_are_left_to_it(board: FakeBoard, tmp_path: Path) -> None:
    applied = AppliedSettings(Machine(board.root), Settings(nvpmodel=2), "run 8, repeat 0, as orin-01")
    status, out, _ = run_check(device(tmp_path, "orin-01", kind="jetson", root=str(board.root)))
    assert status == 0
    assert "nothing; in use by run 8, repeat 0, as orin-01" in line(out, "left behind")
    assert board.mode == 2
    applied.restore()


def test_what_could_not_be_measured_fails_with_what_to_do(board: FakeBoard, tmp_path: Path) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # a Python without packages
    bare.chmod(0o755)
    reboot = device(
        tmp_path, "reboot", kind="jetson", root=str(board.root), settings={"nvpmodel": "7W"}, address="192.0.2.7"
    )
    code, out, err = run_check(
        tmp_path / "missing.yaml",
        device(tmp_path, "no-python", python="/nowhere/python3"),
        device(tmp_path, "bare", python=str(bare)),
        reboot,
    )
    assert code == 1
    assert "not ready to measure: " in err
    assert "no-python: cannot start /nowhere/python3: No such file" in out
    assert "cannot be read: No such file or directory" in out
    assert "No module named" in out
    remedy = f"leave out `python:`, for this machine's own has them all, or: {bare} -m pip install numpy"
    assert remedy in " ".join(out.split())
    assert "setting nvpmodel 7W cannot be made: from 15W (0) to 7W (3) other clusters" in line(out, "setting")
    assert "cannot listen on 192.0.2.7, port any" in line(out, "data plane")


def test_it_fits_a_narrow_terminal(tmp_path: Path) -> None:
    code, out, _ = run_check(device(tmp_path, "node"), columns=80)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def capability(*rails: str) -> Capability:
    return Capability(
        source="toy",
        rails=[Rail(name=name, scope="module") for name in rails],
        rate_hz_max=None,
        averaging_ms=6.6,
        detail={},
    )


def samples(rail: str, rate_hz: float, *mw: float) -> list[PowerRow]:
    return [
        PowerRow(node="toy", source="toy", rail=rail, scope="module", t_ns=round(k * 1e9 / rate_hz), mw=value)
        for k, value in enumerate(mw)
    ]


@pytest.mark.parametrize(("rate_hz", "state"), [(100, "ok"), (89, "warning"), (49, "failed")])
def test_a_sample_rate_is_measured_against_what_was_asked_for(rate_hz: float, state: str) -> None:
    found = power_line("toy", 100, capability("VDD_IN"), samples("VDD_IN", rate_hz, *[5000.0] * 50))
    assert (found.state, f"{rate_hz} samples/s of 100 asked for" in found.seen) == (state, True)
    assert "VDD_IN (module) 5.00 W" in found.seen


def test_the_slowest_rail_counts_and_a_silent_one_fails() -> None:
    read = samples("VDD_IN", 100, *[5000.0] * 50)
    found = power_line("toy", 100, capability("VDD_SOC", "VDD_IN"), read)
    assert found.state == "failed"
    assert "VDD_SOC (module) no sample, VDD_IN (module) 5.00 W; 0 samples/s" in found.seen


def test_a_rail_that_shows_no_power_is_worth_a_word() -> None:
    found = power_line("toy", 100, capability("VDD_IN"), samples("VDD_IN", 100, *[0.0, -5.0] * 25))
    assert found.state == "warning"
    assert "VDD_IN never shows more than 0 W" in found.fix


def test_throttling_since_boot_is_named() -> None:
    (found,) = check_throttle({"throttle": {"soctherm_oc oc3_event_cnt": 12, "cpu0 total_trans": 7, "cpu1": 0}})
    assert (found.state, found.seen) == ("warning", "since boot: soctherm_oc oc3_event_cnt = 12")


def test_a_remote_node_that_listens_on_loopback_alone_is_an_edge_and_needs_no_warning() -> None:
    profile = Profile(name="far", kind="host", reach="local", runtime=Runtime(provider="cpu"))
    (near,) = check_data_plane(profile)
    assert near.state == "ok"
    (far,) = check_data_plane(Profile(name="far", kind="host", reach=SshReach("far"), runtime=Runtime(provider="cpu")))
    assert (far.state, "no other machine reaches 127.0.0.1" in far.seen) == ("ok", True)
    assert far.seen.startswith("for an edge; ")


def test_a_worker_has_as_long_to_start_as_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def hello(worker: Worker, seconds: float) -> None:
        waited.append(seconds)
        raise WorkerError("it is a slow board")

    monkeypatch.setattr(Worker, "hello", hello)
    (found,) = check([device(tmp_path, "slow")])
    assert [each.seen for each in found.lines if each.what == "worker"] == ["it is a slow board"]
    assert waited == [Deadlines().start_s]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("python3 does not start there; install Python 3.10 or newer", ""),
        ("ModuleNotFoundError: No module named '_ctypes'", "that Python lacks a part of itself, _ctypes: name another"),
        ("No module named 'venv'; it comes without venv. On the node: sudo apt install python3-venv", ""),
        ("No module named 'numpy'; no environment could be made. By hand, on the node: …", ""),
    ],
)
def test_a_node_that_was_reached_is_not_asked_about_its_login(said: str, remedy: str) -> None:
    profile = Profile(name="far", kind="host", reach=SshReach("far"), runtime=Runtime(provider="cpu"))
    assert _remedy(profile, DeployError(said)).startswith(remedy)
    assert bool(remedy) == bool(_remedy(profile, DeployError(said)))
    assert "`ssh far true`" in _remedy(profile, LoginError("far does not answer within 15 s"))
    assert _remedy(profile, LoginError("the host key is not known; accept it with `ssh far` once")) == ""


def test_a_python_is_doubted_only_where_it_did_not_start() -> None:
    profile = Profile(name="here", kind="host", reach="local", runtime=Runtime(provider="cpu"), python="python3.9")
    doubt = "is `python: python3.9` in the profile a Python >= 3.10?"
    assert _remedy(profile, DeployError("here: python3.9 -m testbed.worker.check failed: SyntaxError")) == doubt
    assert _remedy(profile, DeployError("here: python3.9 -m testbed.worker.check was not done after 120 s")) == ""


def cpu(**keys: Any) -> Profile:
    return Profile(name="node", kind="host", reach="local", runtime=Runtime(**({"provider": "cpu"} | keys)))


def test_a_step_is_timed_on_each_runtime_and_the_fastest_is_named() -> None:
    threads = torch.get_num_threads()
    *steps, fastest = check_speed(cpu(provider="torch", device="cpu"), probe(4, 16))
    torch.set_num_threads(threads)
    took_ms = {found.what.removeprefix("step: "): float(found.seen.split()[0]) for found in steps}
    assert list(took_ms)[:2] == ["torch on cpu", "cpu"]
    assert steps[1].seen.endswith(" ms on 1 thread of the CPU")
    best = min(took_ms, key=lambda name: took_ms[name])
    assert (fastest.state, fastest.what) == ("ok", "fastest")
    assert fastest.seen.startswith(f"{best}: {took_ms[best]:.3g} ms for a timestep")


def test_what_is_faster_than_the_profiles_runtime_by_a_twentieth_is_what_to_set() -> None:
    ours, faster = Runtime(provider="cpu"), Runtime(provider="torch", device="cuda")
    found = _fastest(ours, {ours: 25.0, faster: 0.8})
    assert found.seen.startswith("torch on cuda: 0.8 ms for a timestep")
    assert found.seen.endswith("the profile's cpu takes 25 ms")
    assert found.fix == "`runtime: {provider: torch, device: cuda}` in the profile"
    assert _fastest(ours, {ours: 25.0, faster: 24.5}).fix == ""
    assert _fastest(ours, {ours: 0.5, faster: 0.8}).fix == ""


def test_a_gpu_that_nothing_computes_on_is_worth_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_sees_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    *_, found = check_speed(cpu(), probe(4, 16))
    assert (found.state, found.what) == ("warning", "GPU")
    assert "install PyTorch" in found.fix


def test_a_runtime_that_is_there_and_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_sees_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    steps = [found for found in check_speed(cpu(), probe(4, 16)) if found.what == "step: torch on cuda"]
    assert [found.state for found in steps] == ["ok"]
    assert re.match(r"does not run here: runtime\.device cuda, but PyTorch .* sees no GPU; install", steps[0].seen)


def test_an_emulated_nodes_runtimes_are_not_timed() -> None:
    (found,) = check_speed(load_profile(EMULATED), b"")
    assert found.seen == "not measured: times of an emulated node come from its model, not from this host"


def test_pytorch_as_the_runtime_is_there_or_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    (found,) = check_runtime(cpu(provider="torch", device="cpu"))
    torch.set_num_threads(threads)
    assert (found.state, found.seen.startswith(f"torch {torch.__version__} on CPU")) == ("ok", True)
    monkeypatch.setitem(sys.modules, "testbed.runtime.torch.graph", None)
    (found,) = check_runtime(cpu(provider="torch", device="cpu"))
    assert (found.state, found.seen.startswith("runtime.provider torch needs PyTorch")) == ("failed", True)
    assert found.fix.startswith("install it (on a Jetson NVIDIA's own wheel")
