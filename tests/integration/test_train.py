"""`testbed train` as a person or a batch system starts it: one process, several, under torchrun, under Slurm."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from testbed.runtime.artefact import load_card
from tests.integration.conftest import ENVIRONMENT, TESTBED

RECIPE = {
    "name": "small",
    "dataset": {"name": "digits", "image_size": 8, "channels": 1, "max_per_class": 40},
    "backbone": {"width": 4},
    "timesteps": 2,
    "variants": {"coded": {"split": "stage1", "bottleneck": {"compression": 128}}},
    "training": {
        "batch_size": 32,
        "crop_padding": 0,
        "flip": False,
        "precision": "fp32",
        "phases": [{"train": "backbone", "epochs": 2, "lr": 0.01}, {"train": "codec", "epochs": 1, "lr": 0.01}],
    },
}
ANN = {
    **{key: value for key, value in RECIPE.items() if key != "variants"},
    "backbone": {"width": 4, "neuron": "relu"},
    "timesteps": 1,
    "training": RECIPE["training"] | {"phases": [{"train": "backbone", "epochs": 2, "lr": 0.01}]},
}
"""Nothing of it is exported, which takes longest."""
TRAIN = ("train", "small.yaml", "--accelerator", "cpu")


class Room:
    """A folder with a recipe, in which commands are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = folder / "small.yaml"
        self.recipe.write_text(yaml.safe_dump(RECIPE))
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env={**ENVIRONMENT, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def recipe_of(self, recipe: dict[str, object]) -> None:
        self.recipe.write_text(yaml.safe_dump(recipe))

    def rows(self) -> list[dict[str, str]]:
        log = self.folder / "results/models/small/training/training.csv"
        if not log.exists():
            return []
        with log.open(newline="") as file:
            return list(csv.DictReader(file))

    def left(self) -> list[psutil.Process]:
        """Processes that were started here and live."""
        return [process for process in psutil.process_iter() if self._is_here(process)]

    def _is_here(self, process: psutil.Process) -> bool:
        try:
            return process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def close(self) -> None:
        for process in self.left():
            process.kill()
        for started in self._started:
            started.communicate()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.close()


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 0, out
    return out


def assert_trained(room: Room) -> None:
    assert [(row["network"], row["phase"], row["epoch"]) for row in room.rows()] == [
        ("full", "backbone", "1"),
        ("full", "backbone", "2"),
        ("coded", "codec", "1"),
    ]
    card = load_card(room.folder / "results/models/small/coded")
    assert all(len(steps) == 2 for steps in card.accuracy_per_timestep.values())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_process_trains(room):
    """With its artefact, test_own_network.py has one."""
    room.recipe_of(ANN)
    out = ended(room.start(TESTBED, *TRAIN, "--devices", "1"))
    assert out.count("full, backbone: epoch 2/2") == 1
    assert [row["epoch"] for row in room.rows()] == ["1", "2"]


def test_two_processes_share_every_batch_and_write_the_artefact_once(room):
    out = ended(room.start(TESTBED, *TRAIN, "--devices", "2"))
    assert out.count("coded: after stage1, 4x8x8 spikes, sends a code of 1x8x8 bits: 128x") == 1
    assert out.count("sends a code of") == 1
    assert_trained(room)


def test_torchrun_says_how_many_processes_there_are(room):
    room.recipe_of(ANN)
    torchrun = Path(sys.executable).with_name("torchrun")
    two = ("--nproc-per-node", "2", "--master-port", str(free_port()))
    out = ended(room.start(torchrun, *two, "-m", "testbed", *TRAIN))
    assert out.count("full, backbone: epoch 2/2") == 1
    assert [row["epoch"] for row in room.rows()] == ["1", "2"]


def test_tasks_of_a_slurm_job_find_each_other(room):
    room.recipe_of(ANN)
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    tasks = [
        room.start(TESTBED, *TRAIN, "--devices", "2", **job, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank))
        for rank in range(2)
    ]
    outs = [ended(task) for task in tasks]
    assert outs[0].count("full, backbone: epoch 2/2") == 1
    assert outs[1].strip() == ""
    assert [row["epoch"] for row in room.rows()] == ["1", "2"]


def test_a_batch_that_the_devices_cannot_share_is_one_line(room):
    process = room.start(TESTBED, *TRAIN, "--devices", "3")
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 1
    lines = [line for line in out.splitlines() if "testbed:" in line]
    assert lines == [
        "testbed: small: a batch of 32 cannot be shared by 3 devices; choose a training.batch_size that they divide"
    ]
    assert room.left() == []


def test_hardware_that_is_not_there_is_one_line(room):
    gpu = ("--accelerator", "gpu", "--devices", "1")
    process = room.start(TESTBED, "train", "small.yaml", *gpu, CUDA_VISIBLE_DEVICES="")
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 1
    assert "testbed: cannot train on accelerator gpu, devices 1, nodes 1" in out
    assert "Traceback" not in out


def test_a_training_that_is_interrupted_leaves_nobody_behind_and_goes_on(room):
    phases = [{"train": "backbone", "epochs": 400, "lr": 0.01}]
    room.recipe_of(ANN | {"training": ANN["training"] | {"phases": phases}})
    process = room.start(TESTBED, *TRAIN, "--devices", "2")
    wait_for(lambda: len(room.rows()) > 2, "three epochs were trained")
    process.send_signal(signal.SIGTERM)  # a batch system's; Ctrl-C below
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 130, out
    assert "testbed: interrupted; the same command goes on from the last whole epoch" in out
    wait_for(lambda: room.left() == [], "nobody is left")
    done = len(room.rows())
    again = room.start(TESTBED, *TRAIN, "--devices", "2")
    wait_for(lambda: len(room.rows()) > done, "another epoch was trained")
    assert [int(row["epoch"]) for row in room.rows()] == list(range(1, len(room.rows()) + 1))
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=200)
    assert again.returncode == 130
