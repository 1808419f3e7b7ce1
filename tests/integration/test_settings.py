"""Runs on a made-up Jetson whose settings are made and put back: whole, killed, and refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.board import FakeBoard

pytestmark = pytest.mark.timeout(300)

SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed"}
RECIPE = Path(__file__).parents[2] / "experiments" / "train" / "digits-resnet18.yaml"
MODELS = {"plain": {"recipe": str(RECIPE), "variant": "plain"}}
SETTINGS = {"nvpmodel": "MAXN_SUPER", "jetson_clocks": True}


@pytest.fixture
def board(lab) -> Iterator[FakeBoard]:
    """A board that has been at work for a minute when the test begins, and goes on getting warmer."""
    board = FakeBoard(lab.folder / "board")
    lab.environment |= board.environment
    over = threading.Event()

    def age() -> None:
        seconds = 60.0
        while not over.wait(0.25):
            seconds += 0.25
            board.at(seconds)

    board.at(60)
    thread = threading.Thread(target=age)
    thread.start()
    yield board
    over.set()
    thread.join()


def test_a_run_records_its_board_at_both_ends_and_puts_it_back(lab, board: FakeBoard) -> None:
    before = board.settings
    edge = lab.device("orin-01", kind="jetson", root=str(board.root), settings=SETTINGS)
    done = lab.run("run", lab.experiment(SPLIT, edge=edge, models=MODELS), "--results", lab.results, "--no-report")
    assert "Traceback" not in done.text
    (cell,) = lab.cells()
    assert cell.complete, done.text
    repeat = cell.manifest.nodes["orin-01"].repeats["0"]
    before_it, after_it = repeat.hello.board, repeat.finished.facts
    start, end = before_it.others, after_it.others
    assert start["board_model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (start["power_mode"]["name"], end["power_mode"]["name"]) == ("15W", "MAXN_SUPER")
    assert end["clocks_mhz"]["cpu1"]["min"] == 1510.4
    assert repeat.finished.settings[0] == "power mode 15W (0) → MAXN_SUPER (2)"
    assert after_it.throttle["soctherm_oc oc3_event_cnt"] > before_it.throttle["soctherm_oc oc3_event_cnt"]
    assert after_it.temperature_c["cpu-thermal"] > before_it.temperature_c["cpu-thermal"]
    assert any(event.event == "settings" and event.node == "orin-01" for event in cell.events)
    assert board.settings == before
    assert board.journals == []


def test_a_killed_worker_and_orchestrator_leave_the_board_to_the_next_check(lab, board: FakeBoard) -> None:
    before = board.settings
    edge = lab.device(
        "orin-01", "emulated-orin-nano", slowdown=30, root=str(board.root), settings={"cpu_governor": "performance"}
    )
    running = lab.start("run", lab.experiment(SPLIT, edge=edge, models=MODELS), "--results", lab.results, "--no-report")
    lab.wait_until_measuring()
    assert board.settings != before
    (worker,) = lab.nodes("orin-01")

    worker.kill()
    running.process.kill()
    running.outcome()

    psutil.wait_procs(lab.nodes(), timeout=20)
    assert board.settings != before
    done = lab.run("check", edge)
    assert done.code == 0, done.text
    assert "CPU governor schedutil → performance" in done.out
    assert board.settings == before
    assert board.journals == []


def test_a_failed_repeat_puts_its_board_back(lab, board: FakeBoard) -> None:
    before = board.settings
    edge = lab.device(
        "orin-01", "emulated-orin-nano", slowdown=30, root=str(board.root), settings={"cpu_governor": "performance"}
    )
    running = lab.start("run", lab.experiment(SPLIT, edge=edge, models=MODELS), "--results", lab.results, "--no-report")
    lab.wait_until_measuring()
    (cloud,) = lab.nodes("bench-cloud")

    cloud.kill()

    assert running.outcome().code == 1
    assert board.settings == before
    assert board.journals == []


def test_a_setting_that_is_refused_fails_the_cell_with_the_reason(lab, board: FakeBoard) -> None:
    before = board.settings
    edge = lab.device("orin-01", kind="jetson", root=str(board.root), settings={"nvpmodel": "7W"})
    done = lab.run("run", lab.experiment(SPLIT, edge=edge, models=MODELS), "--results", lab.results, "--no-report")
    assert done.code == 1
    assert "edge orin-01, loading: power mode 7W (3) would need a reboot" in done.err
    assert board.settings == before
