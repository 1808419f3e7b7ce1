"""`testbed check` of nodes behind real sshd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.board import FakeBoard
from tests.integration.test_ssh import bench, nodes

__all__ = ["bench", "nodes"]  # fixtures

pytestmark = pytest.mark.timeout(300)

APPLY_AND_DIE = """
import os, signal, sys
from pathlib import Path
from devices.machine import Machine
from devices.profile import Settings
from devices.settings.applied import AppliedSettings
AppliedSettings(Machine(Path(sys.argv[1])), Settings(cpu_governor="performance"), "run 7, repeat 2, as bench-edge")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nodes_are_deployed_looked_at_and_left_as_they_were(bench, lab) -> None:
    board = FakeBoard(lab.folder / "board")
    before = board.settings
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", APPLY_AND_DIE, str(board.root)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert board.settings != before
    edge = bench.device(bench.nodes.edge, root=str(board.root))

    done = lab.run("check", edge, bench.device(bench.nodes.cloud))

    assert done.code == 0, done.text
    assert "ssh edge; looked at in" in done.out
    assert "VDD_IN (emulated) 5.20 W" in done.out
    assert "ended without putting back: CPU governor schedutil → performance" in done.out
    assert f"as the cloud it can listen on {bench.nodes.cloud.address}, port any" in done.out
    assert board.settings == before
    bench.wait_until_nothing_is_left()
    runs = lab.folder / "node-edge" / "runs"
    assert not runs.exists() or not list(runs.iterdir())


def test_a_node_that_cannot_be_reached_is_a_line_and_the_next_node_is_looked_at(bench, lab) -> None:
    away = bench.device(bench.nodes.edge, reach={"ssh": "no-such-host.invalid"})
    done = lab.run("check", away, bench.device(bench.nodes.cloud))
    assert done.code == 1
    assert "Traceback" not in done.text
    assert re.search(r"^failed +reach ", done.out, re.MULTILINE)
    assert "does `ssh no-such-host.invalid true` work without a question?" in " ".join(done.out.split())
    assert "ssh cloud; looked at in" in done.out
    assert "not ready to measure: bench-edge" in done.err
