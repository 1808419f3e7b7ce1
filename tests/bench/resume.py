"""A campaign of 20 cells killed ten times, beside the same campaign unbroken."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from testbed.campaign import make_plan
from tests.integration.conftest import Lab
from tests.integration.kills import Broken, attempts, check_alike, check_whole, kills

ROOT = Path(__file__).parents[2]
KILLS, REQUESTS, SEED = 10, 40, 0
LINKS = ("wifi", "ethernet", "5g")
SPLIT = {"mode": "co_inference", "codec": "packed"}
FALLBACK = {"fallback": "edge_only"}
CELLS: tuple[dict[str, Any], ...] = (
    {"mode": "edge_only", "model": "plain"},
    {"mode": "edge_only", "model": "plain", "exit": {"threshold": 0.9}},
    {"mode": "cloud_only", "model": "plain", "link": [*LINKS]},
    {**SPLIT, "model": "plain", "link": [*LINKS]},
    *({**SPLIT, "model": "plain", "codec": codec} for codec in ("float32", "sparse", "entropy")),
    {**SPLIT, "model": "coded", "link": [*LINKS]},
    {**SPLIT, "model": "coded", "exit": {"threshold": [0.6, 0.7, 0.8, 0.9]}},
    *({**SPLIT, "model": "coded", **FALLBACK, **more} for more in ({}, {"exit": {"threshold": 0.8}})),
)


def run() -> None:
    """Print the table, which takes five minutes."""
    with tempfile.TemporaryDirectory() as name:
        _run(Path(name))


def _run(folder: Path) -> None:
    for name in ("models", "bundles"):
        (folder / name).mkdir(exist_ok=True)
    whole, broken = (_lab(folder / each, folder) for each in ("whole", "broken"))
    try:
        make_plan(_experiment(whole), whole.results)  # exports the models
        started = time.monotonic()
        outcome = whole.run("run", _experiment(whole), seconds=900)
        assert outcome.code in (0, 1), outcome.text
        took_s = time.monotonic() - started
        check_whole(whole, 1, REQUESTS)
        print(f"unbroken: {len(whole.cells())} cells in {took_s:.0f} s")
        started = time.monotonic()
        run = Broken(broken, "run", _experiment(broken))
        try:
            run.carry_out(kills(KILLS, REQUESTS, spared=1, seed=SEED))
        finally:
            for kill, where in run.hits:
                print(f"  killed: {kill} ({where})", flush=True)
        took_s = time.monotonic() - started
        check_whole(broken, 1, REQUESTS)
        begun, done = attempts(broken)
        by = Counter(kill.victim for kill, _ in run.hits)
        whom = ", ".join(f"{count} {victim}" for victim, count in sorted(by.items()))
        print(f"broken: {len(run.hits)} kills ({whom}) in {took_s:.0f} s")
        print(f"typed {len(run.ends)} times; {begun} attempts begun, {done} of them whole")
        print(f"{check_alike(whole, broken)} cells without a fallback are alike in everything that is not a time")
    finally:
        whole.close()
        broken.close()


def _lab(folder: Path, models: Path) -> Lab:
    folder.mkdir()
    return Lab(folder, models)


def _experiment(lab: Lab) -> Path:
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=4)
    scenario = {"requests": REQUESTS, "warmup": 2}
    return lab.experiment(*CELLS, edge=edge, link="wifi", scenario=scenario)
