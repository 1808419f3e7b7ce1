"""An arm64 node with a kernel of its own: deployed from nothing, power and cable taken, every bit as on x86.

`make test-arm64`; `make test` leaves this out, since an emulated processor takes minutes for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from devices.profile import load_profile
from testbed.deploy.deployer import Claim
from testbed.deploy.ssh import SshDeployer
from testbed.record.reader import Cell, read_campaign
from testbed.runtime.artefact import load_card
from testbed.runtime.bundle import load_bundle
from tests.arm64.machine import ADDRESS, HOST, WORKSTATION, Machine, NoImage, machine, missing

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"
RECIPE = ROOT / "experiments" / "train" / "digits-resnet18.yaml"
CODES = ROOT / "tests" / "arm64" / "codes.py"
SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed"}
HASHED_SAMPLES = 6
DECIDED = ["request_id", "repeat", "sample_index", "label", "prediction", "outcome", "exit_timestep"]
SENT = ["payload_up_bytes", "payload_down_bytes"]
COMPUTED = ["request_id", "repeat", "timestep", "logits", "confidence", "code_spikes", "code_bits", "payload_bytes"]
STORE = "~/.cache/neucodex"
LISTING = f"cd {STORE} && find files folders code environments -type f ! -name '*.pyc' -printf '%p %s %i\\n' | sort"
"""Name, size and inode: what is used is touched, and what is sent again is another file."""
# A file of the store is named after the hash of what is in it.
FILES = """
import hashlib, pathlib
for path in pathlib.Path("~/.cache/neucodex/files").expanduser().iterdir():
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if lacks := missing():
        pytest.skip(lacks)
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(machine(tmp_path_factory.mktemp("arm64")))
        except NoImage as error:
            pytest.skip(f"no image of an arm64 machine can be made here: {error}")
        yield found


@pytest.fixture
def bench(lab, board: Machine, monkeypatch) -> Bench:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # wheels are downloaded once
    for name, value in {"HOME": str(board.home), "XDG_CACHE_HOME": caches}.items():
        monkeypatch.setenv(name, value)
        lab.environment[name] = value
    return Bench(lab, board)


class Bench:
    """A lab whose edge is the arm64 machine, and whose cloud is this one."""

    def __init__(self, lab, board: Machine) -> None:
        self.lab, self.board = lab, board
        self.edge = lab.device("arm64-edge", reach={"ssh": HOST}, address=ADDRESS)
        self.cloud = lab.device("x86-cloud", address=WORKSTATION)
        # Other tests keep networks and samples of theirs there, too.
        self.artefacts = [lab.results / "models" / RECIPE.stem / variant for variant in ("coded", "plain")]
        (self.bundle,) = (lab.results / "bundles").glob(f"{RECIPE.stem}-*")

    def deploy(self, then: Callable[[], None] = lambda: None) -> list[str]:
        """Put on the machine what a run needs, and do something at once; returns where models and bundle are there."""
        digests = [load_card(folder).hash for folder in self.artefacts] + [load_bundle(self.bundle).card.hash]

        async def put() -> list[str]:
            deployer = SshDeployer(load_profile(self.edge), Claim("somebody@here", "arm64", f"arm64-{os.getpid()}"))
            try:
                await deployer.open()
                folders = zip([*self.artefacts, self.bundle], digests, strict=True)
                places = [await deployer.push(folder, digest) for folder, digest in folders]
                then()
                return places
            finally:
                await deployer.close()

        return asyncio.run(put())

    def run(self, experiment: Path, edge: Path, *words: str) -> dict[str, Cell]:
        """Run it to its end; returns its cells by their labels."""
        nodes = ("--edge", edge, "--cloud", self.cloud)
        done = self.lab.run("run", experiment, *nodes, "--results", self.lab.results, *words, seconds=800)
        assert done.code == 0, done.text
        folder = self.lab.results / yaml.safe_load(experiment.read_text())["name"]
        cells = {cell.manifest.label: cell for cell in read_campaign(folder, pytest.fail)}
        for cell in cells.values():
            # A table is read from its file when it is first asked for, and the next run moves the file.
            assert len(cell.requests) * len(cell.timesteps)
        return cells

    def rows(self) -> list[dict[str, Any]]:
        """The requests that are recorded on the machine."""
        text = self.board.ssh(f"cat {STORE}/runs/*/arm64-edge/requests.jsonl 2>/dev/null || true")
        return [json.loads(line) for line in text.splitlines()]


def test_power_cut_right_after_the_deployment_leaves_everything_whole(bench, lab) -> None:
    places = bench.deploy(then=bench.board.cut_power)

    bench.board.power_on()

    files = dict(line.split() for line in bench.board.ssh("python3 -", FILES).splitlines())
    assert list(files) == list(files.values())
    sent = [file for folder in (*bench.artefacts, bench.bundle) for file in folder.iterdir()]
    assert len(files) > len({file.read_bytes() for file in sent})  # wheels and the testbed, too
    for place, folder in zip(places, (*bench.artefacts, bench.bundle), strict=True):
        assert bench.board.ssh(f"ls {place}").split() == sorted(file.name for file in folder.iterdir())
    before = bench.board.ssh(LISTING)

    done = lab.run("check", bench.edge)

    assert done.code == 0, done.text
    assert f"as the cloud it can listen on {ADDRESS}, port any" in done.out
    assert bench.board.ssh(LISTING) == before  # nothing was missed, and nothing sent again


def test_cells_of_the_quickstart_with_it_as_edge_answer_bit_for_bit_as_on_x86(bench, lab) -> None:
    # On the path as it is: an emulated processor is too slow for the 2 ms that a link may be off.
    changes = ["repeats=1", "scenario.requests=20", "scenario.warmup=2", "link=none"]
    # A network that is exported already, and no ANN: its sums are not exact, so they have other last bits elsewhere.
    spiking = [cell for cell in yaml.safe_load(QUICKSTART.read_text())["cells"] if cell["model"] == "coded"]
    changes.append(f"models={json.dumps({'coded': {'recipe': str(RECIPE), 'variant': 'coded'}})}")
    changes.append(f"cells={json.dumps(spiking)}")
    words = [word for change in changes for word in ("--set", change)]

    on_arm = bench.run(QUICKSTART, bench.edge, *words)
    on_x86 = bench.run(QUICKSTART, lab.device("x86-edge"), *words)

    assert len(on_arm) == len(spiking)
    assert list(on_arm) == list(on_x86)
    for label, cell in on_arm.items():
        (edge,) = cell.manifest.role("edge")
        assert edge.repeats["0"].hello.board.others["machine"] == "aarch64"
        for table, columns in (("requests", DECIDED + SENT), ("timesteps", COMPUTED)):
            there, here = (getattr(each[label], table)[columns] for each in (on_arm, on_x86))
            pd.testing.assert_frame_equal(there, here, check_exact=True, obj=f"{table} of {label}")


def test_step_graphs_make_the_same_codes_and_states_as_on_x86(bench, lab) -> None:
    *places, bundle = bench.deploy()

    for place, artefact in zip(places, bench.artefacts, strict=True):
        words = f"{place} {bundle} {HASHED_SAMPLES}"
        there = bench.board.ssh(f"cd {STORE}/code/* && {STORE}/environments/*/bin/python - {words}", CODES.read_text())
        here = subprocess.run(
            [sys.executable, CODES, artefact, bench.bundle, str(HASHED_SAMPLES)],
            env=lab.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert json.loads(there) == json.loads(here)


def test_cable_out_while_it_measures_leaves_a_row_for_each_request_and_the_run_goes_on(bench, lab) -> None:
    scenario = {"requests": 30, "warmup": 1, "timeout_ms": 8000}  # longer than the silence: no request follows that one
    keys = {"edge": bench.edge, "cloud": bench.cloud, "deadlines": {"silence_s": 5.0}}
    experiment = lab.experiment(SPLIT, scenario=scenario, **keys)
    running = lab.start("run", experiment, "--results", lab.results)
    lab.wait_for("the edge measures", lambda: len(bench.rows()) >= 3, 120)

    bench.board.cable("down")
    try:
        done = running.outcome()
    finally:
        bench.board.cable("up")

    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    (cell,) = lab.cells()
    (reason,) = cell.status.reasons
    assert reason.startswith("repeat 0: edge arm64-edge, measuring: silent for"), reason
    assert reason.splitlines()[0] in done.err
    rows = bench.rows()
    assert [row["request_id"] for row in rows] == list(range(len(rows)))
    outcomes = [row["outcome"] for row in rows]
    assert outcomes == ["ok"] * outcomes.count("ok") + ["timeout"] * outcomes.count("timeout")
    assert outcomes.count("timeout") == 1  # the one that ran when the cable was pulled

    done = lab.run("run", experiment, "--results", lab.results, seconds=300)

    assert done.code == 0, done.text
    (cell,) = lab.cells()
    assert cell.complete
    assert list(cell.requests["request_id"]) == list(range(30))
    assert set(cell.requests["outcome"]) == {"ok"}
