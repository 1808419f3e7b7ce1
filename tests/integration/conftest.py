"""A laboratory in a temporary folder: device profiles, an experiment, and `testbed` as its own process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

from testbed.cli.app import app
from testbed.record.reader import Cell, read_campaign

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "experiments" / "train" / "digits-resnet18.yaml"
TESTBED = Path(sys.executable).with_name("testbed")
PATIENT = "tests.integration.patient"
NODE_PACKAGES = ("numpy", "pyzmq", "msgspec", "PyYAML", "onnxruntime")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
EXPERIMENT = "lab"
FAST = {"gmacs_per_s": 1e4, "gbytes_per_s": 1e4, "layer_overhead_us": 0, "code_overhead_us": 0}
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"
PREPARE = """
import sys
from pathlib import Path
from testbed.campaign import make_plan
make_plan(Path(sys.argv[1]), Path(sys.argv[2]))
"""
"""What a run does before it measures."""


@dataclass(frozen=True)
class Outcome:
    """How a `testbed` command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Running:
    """A `testbed` command that goes on in the background."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def text(self) -> str:
        return self._out.read_text() + self._err.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def outcome(self, seconds: float = 100) -> Outcome:
        self.process.wait(seconds)
        return Outcome(self.process.returncode, self._out.read_text(), self._err.read_text())


class Lab:
    """One results folder. Whatever is started here has `folder` as its working directory, so it can be found."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self.environment = dict(ENVIRONMENT)
        self.results.mkdir()
        for name in ("models", "bundles"):
            (self.results / name).symlink_to(models / name)
        self._started: list[Running] = []

    def device(
        self,
        name: str,
        like: str = "host",
        slowdown: float | None = None,
        call_ms: float | None = None,
        **changes: Any,
    ) -> Path:
        """A profile made from one that ships.

        An emulated one may be so much slower than this machine, or take so long for each call of a graph: the same on
        every machine, however busy.
        """
        profile = yaml.safe_load((ROOT / "devices" / f"{like}.yaml").read_text()) | {"name": name} | changes
        if slowdown is not None:
            profile["emulates"]["time"] = {"model": "slowdown", "slowdown": slowdown, "reference": "made up for a test"}
        if call_ms is not None:
            profile["emulates"]["time"] |= FAST | {"call_overhead_us": 1000 * call_ms}
        for source in profile["power"]:
            source["rate_hz"] = 100  # so that a short rest has samples enough, also where the machine stalls in it
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(profile))
        return path

    def experiment(
        self, *cells: dict[str, Any], edge: Path | None = None, cloud: Path | None = None, **keys: Any
    ) -> Path:
        """An experiment of a few requests on an emulated edge and this machine."""
        # Twenty requests of four timesteps fill what the power source needs to see: they are run once.
        edge = edge or self.device("bench-edge", "emulated-orin-nano", call_ms=12)
        cloud = cloud or self.device("bench-cloud")
        document = {
            "name": EXPERIMENT,
            "models": {name: {"recipe": str(RECIPE), "variant": name} for name in ("plain", "coded")},
            "nodes": {"edge": str(edge), "cloud": str(cloud)},
            "scenario": {"requests": 20, "warmup": 1},
            "repeats": 1,
            "idle_s": 0.3,
            "baselines": False,
            "cells": list(cells),
        }
        path = self.folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(document | keys, sort_keys=False))
        return path

    def start(self, *arguments: str | Path) -> Running:
        out, err = (self.folder / f"{len(self._started)}.{stream}" for stream in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", PATIENT, *arguments],
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                env=self.environment,
            )
        self._started.append(Running(process, out, err))
        return self._started[-1]

    def run(self, *arguments: str | Path, seconds: float = 150) -> Outcome:
        return self.start(*arguments).outcome(seconds)

    def told(self, *arguments: str | Path) -> Outcome:
        """A verb that ends before it starts anything, in this process: its start would take most of its time."""
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))
        return Outcome(done.exit_code, done.stdout, done.stderr)

    def nodes(self, name: str | None = None) -> list[psutil.Process]:
        """The workers (of one node), power samplers and shapers of this lab that are alive."""
        wanted = (
            ("testbed.worker", "devices.power.sampler", "testbed.link.shaping")
            if name is None
            else (f"--node {name} ",)
        )
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is not ours to see
                command = " ".join(process.cmdline()) + " "
                if process.cwd() == str(self.folder) and any(word in command for word in wanted):
                    found.append(process)
        return found

    @property
    def campaign(self) -> Path:
        return self.results / EXPERIMENT

    def cells(self) -> list[Cell]:
        return read_campaign(self.campaign, print)

    def cell(self, mode: str) -> Cell:
        return next(cell for cell in self.cells() if cell.manifest.mode == mode)

    def recorded(self, where: Path, pattern: str = "raw/*/*/*/requests.jsonl") -> int:
        """Number of whole rows that are on disk."""
        return sum(path.read_bytes().count(b"\n") for path in where.glob(pattern))

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = 40) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                running = "\n".join(running.text for running in self._started)
                pytest.fail(f"waited {seconds} s in vain until {what}\n{running}")
            time.sleep(0.02)
        return found

    def wait_until_measuring(self, mode: str = "*", repeat: int = 0) -> Path:
        """Wait until a few requests of a cell are on disk; returns that cell's folder."""

        def measuring() -> Path | None:
            for log in self.campaign.glob(f"*/raw/repeat-{repeat:02d}/*/*/requests.jsonl"):
                folder = log.parents[4]
                wanted = mode == "*" or f'"mode": "{mode}"' in (folder / "manifest.json").read_text()
                if wanted and log.read_bytes().count(b"\n") >= 3:
                    return folder
            return None

        folder: Path = self.wait_for(f"{mode} is measured", measuring)
        return folder

    def wait_until_nodes_are_gone(self, seconds: float = 30) -> None:
        self.wait_for("no worker and no sampler is left", lambda: not self.nodes(), seconds)

    def close(self) -> None:
        for running in self._started:
            running.process.kill()
            running.process.wait()
        for process in self.nodes():
            process.kill()


def fingerprints(folder: Path) -> dict[str, tuple[int, str]]:
    """When each file below a folder was last written, and the hash of what is in it."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(name="fingerprints")
def fingerprints_() -> Callable[[Path], dict[str, tuple[int, str]]]:
    return fingerprints


@pytest.fixture(scope="session")
def models(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the shipped model exported, which takes a minute, and the bundle.

    It is kept in pytest's cache for as long as what decides its content stays the same.
    """
    sources = [RECIPE, RECIPE.with_suffix(".safetensors")]
    for package in ("snn", "data", "runtime"):
        sources += sorted((ROOT / "testbed" / package).glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    results = pytestconfig.cache.mkdir(f"testbed-models-{digest}")
    folder = tmp_path_factory.mktemp("models")
    experiment = folder / "experiment.yaml"
    document = {
        "name": "unused",
        "models": {name: {"recipe": str(RECIPE), "variant": name} for name in ("plain", "coded")},
        "nodes": {
            role: str(ROOT / "devices" / f"{name}.yaml")
            for role, name in (("edge", "emulated-orin-nano"), ("cloud", "host"))
        },
        "cells": [{"mode": "edge_only", "model": name} for name in ("plain", "coded")],
    }
    experiment.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, experiment, results],
        cwd=folder,
        # Two threads that wait for each other take ten times as long on a busy machine.
        env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(results)


@pytest.fixture
def lab(tmp_path: Path, models: Path) -> Iterator[Lab]:
    laboratory = Lab(tmp_path, models)
    yield laboratory
    laboratory.close()


@pytest.fixture(scope="session")
def node_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with what a node needs and nothing else, linked from this one."""
    folder = tmp_path_factory.mktemp("node") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    paths = subprocess.run([python, "-c", PURELIB], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted, linked = list(NODE_PACKAGES), set[str]()
    while wanted:
        found = distribution(wanted.pop())
        if found.name in linked:
            continue
        linked.add(found.name)
        needs = [Requirement(line) for line in found.requires or ()]
        wanted += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
        for file in found.files or ():
            if ".." not in file.parts:  # its scripts
                target = Path(*paths, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(found.locate_file(file))
    return python
