"""A campaign that is killed again and again ends as one that nothing happened to. `tests.bench resume` is longer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Lab
from tests.integration.kills import Broken, Kill, check_alike, check_whole

pytestmark = pytest.mark.timeout(300)

REQUESTS = 20
CELLS = (
    {"mode": "edge_only", "model": "plain"},
    {"mode": "cloud_only", "model": "plain"},
    {"mode": "co_inference", "model": "coded", "codec": "packed", "exit": {"threshold": 0.9}},
)
KILLS = [
    Kill("shaper", "measure", 0, 5),
    Kill("cloud", "check_path", 0, 0),
    Kill("orchestrator", "idle_after", 0, 0),
]


def test_a_campaign_that_is_killed_three_times_ends_as_one_that_is_not(lab: Lab, models: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Lab(tmp_path / "whole", models)
    try:
        experiments = [_experiment(each) for each in (whole, lab)]
        unbroken = whole.start("run", experiments[0])  # meanwhile: both wait more than they compute
        broken = Broken(lab, "run", experiments[1])
        broken.carry_out(KILLS)
        assert [kill for kill, _ in broken.hits] == KILLS
        told = [json.loads(path.read_text())["message"] for path in lab.campaign.glob("*/raw/*/*/failure.json")]
        assert len(told) == 2  # the shaper's end is told of at once, not when one request after the other is late
        assert any("serving: the shaper of link wifi" in each and "exit code -9" in each for each in told), told
        outcome = unbroken.outcome()
        assert outcome.code in (0, 1), outcome.text  # its times may be disturbed, and it invalid
        for each in (whole, lab):
            check_whole(each, 1, REQUESTS)
        assert check_alike(whole, lab) == len(CELLS)
    finally:
        whole.close()


def _experiment(lab: Lab) -> Path:
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=10)
    return lab.experiment(*CELLS, edge=edge, link="wifi", scenario={"requests": REQUESTS, "warmup": 1})
