"""A lab's own bench: `pytest tests/hardware --edge devices/orin-01.yaml --cloud devices/gpu-01.yaml`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from devices.profile import Profile, load_profile
from testbed.record.reader import Cell, read_campaign

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--edge", metavar="DEVICE.yaml", help="profile of a real edge board, for tests/hardware")
    parser.addoption("--cloud", metavar="DEVICE.yaml", help="profile of a real cloud node, for tests/hardware")


@dataclass(frozen=True)
class Ran:
    """How a `testbed` command ended."""

    code: int
    text: str


class HardwareBench:
    """The two nodes that were named on the command line."""

    def __init__(self, edge: Path, cloud: Path, folder: Path) -> None:
        self.files = {"edge": edge, "cloud": cloud}
        self.folder = folder

    def profile(self, role: str) -> Profile:
        return load_profile(self.files[role])

    def testbed(self, *arguments: str | Path) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "testbed", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout)


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> HardwareBench:
    files = [pytestconfig.getoption(name, None) for name in ("--edge", "--cloud")]
    if None in files:
        pytest.skip("needs a bench: pytest tests/hardware --edge devices/EDGE.yaml --cloud devices/CLOUD.yaml")
    edge, cloud = (Path(name).resolve() for name in files)
    return HardwareBench(edge, cloud, tmp_path_factory.mktemp("bench"))


@dataclass(frozen=True)
class Measured:
    """A short campaign on the bench."""

    ran: Ran
    cells: dict[str, Cell]


@pytest.fixture(scope="session")
def measured(bench: HardwareBench) -> Measured:
    """Edge alone and edge with cloud, two repeats each: the least that has a spread."""
    recipe = str(ROOT / "experiments/train/digits-resnet18.yaml")
    document = {
        "name": "bench",
        "models": {"plain": {"recipe": recipe, "variant": "plain"}},
        "nodes": {role: str(path) for role, path in bench.files.items()},
        "scenario": {"requests": 200, "warmup": 20},
        "repeats": 2,
        "idle_s": 3.0,
        "cells": [
            {"mode": "edge_only", "model": "plain"},
            {"mode": "co_inference", "model": "plain", "codec": "packed"},
        ],
    }
    experiment = bench.folder / "bench.yaml"
    experiment.write_text(yaml.safe_dump(document, sort_keys=False))
    results = bench.folder / "results"
    ran = bench.testbed("run", experiment, "--results", results)
    return Measured(ran, {cell.manifest.mode: cell for cell in read_campaign(results / "bench", pytest.fail)})
