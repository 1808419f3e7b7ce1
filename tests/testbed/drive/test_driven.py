"""`testbed link`: what is asked of a link, and a link that is driven by real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devices.links.conditions import Capacity, Direction
from testbed.drive.driven import wanted
from tests.calm import in_a_calm_moment

ROOT = Path(__file__).parents[3]
STEPS = """\
name: steps
title: two rates
technology: other
up: {trace: steps.csv, delay_ms: 30}
down: {trace: steps.csv, delay_ms: 10, jitter_ms: 1}
source: made up
"""


def link(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "testbed", "link", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_a_probe_in_an_outage_is_asked_to_wait_for_its_end():
    pulse = Capacity(ms=[0, 1000, 2000], bytes=[0, 68_000, 68_000])
    seen = wanted(Direction(capacity=pulse, delay_ms=5), 3, [(1500.0, 0.0)])
    assert seen.delay_p50_ms == pytest.approx(500 + 1 + 5)
    assert seen.bytes_per_s == [68_000, 0, 68_000]


def test_a_delay_with_jitter_has_its_normal_quantiles_and_is_never_negative():
    seen = wanted(Direction(delay_ms=50, jitter_ms=10), 1, [(0.0, 0.0)])
    assert seen.delay_p50_ms == pytest.approx(50)
    assert seen.delay_p95_ms == pytest.approx(50 + 1.645 * 10, abs=0.2)
    assert seen.bytes_per_s is None
    assert seen.mbit_s is None
    assert wanted(Direction(jitter_ms=1), 1, [(0.0, 0.0)]).delay_p50_ms == 0


def test_a_link_is_driven_and_delivers_what_was_asked(tmp_path: Path):
    (tmp_path / "steps.yaml").write_text(STEPS)
    (tmp_path / "steps.csv").write_text("seconds,up_mbit_s,down_mbit_s\n0,2,4\n1,1,8\n")

    def delivers() -> None:
        done = link("steps.yaml", "--seconds", "2", "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        asked, delivered = said["asked"], said["delivered"]
        assert said["link"]["name"] == "steps"
        assert asked["up_bytes_per_s"] == [250_000, 125_000]
        assert asked["down_bytes_per_s"] == [500_000, 1_000_000]
        for way, delay_ms in (("up", 30), ("down", 10)):
            assert delivered[f"{way}_bytes_per_s"] == pytest.approx(asked[f"{way}_bytes_per_s"], rel=0.1)
            assert delivered[f"{way}_mbit_s"] == pytest.approx(asked[f"{way}_mbit_s"], rel=0.05)
            assert delay_ms - 0.5 < delivered[f"{way}_delay_p50_ms"] < delay_ms + 10
            assert delay_ms < asked[f"{way}_delay_p50_ms"] <= asked[f"{way}_delay_p95_ms"] < delay_ms + 3
        assert asked.keys() == delivered.keys()

    in_a_calm_moment(delivers, tries=8)


def test_the_tables_have_a_row_for_each_second(tmp_path: Path):
    (tmp_path / "trace").write_text("0 1\n1 1\n")
    done = link("./trace", "--seconds", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    assert next(row for row in words if row[:2] == ["up", "rate,"])[3] == "1.000"
    assert next(row for row in words if row[:1] == ["0"])[1::2] == ["125.0", "125.0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wify"], "no link named `wify`"),
        (["./none.up"], "none.up: cannot be read: No such file or directory"),
        (["wifi", "--seconds", "0"], "--seconds 0: expected 1 to 3600"),
    ],
)
def test_what_cannot_be_driven_is_one_line(arguments: list[str], said: str):
    done = link(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
