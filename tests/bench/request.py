"""What the testbed adds to a co-inference request on loopback: latency − edge − encode − cloud."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[2]
POWER = {
    "source": "emulated",
    "rail": "VDD_IN",
    "rate_hz": 100,
    "idle_mw": 5200,
    "busy_mw": 5600,
    "radio_mw": 320,
    "reference": "bench",
}


class Silent:
    """An observer that shows nothing but trouble."""

    def message(self, text: str) -> None:
        """Print it."""
        print(text)

    def attempt(self, number: int, of: int, title: str) -> None:
        """Nothing."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Nothing."""


def profile(folder: Path, *, sampled: bool) -> Path:
    """An edge as fast as this machine, with or without the 100 Hz power sampler."""
    path = folder / f"edge-{'sampled' if sampled else 'plain'}.yaml"
    emulates = {"board": "this machine", "slowdown": 1.0, "slowdown_source": "none"}
    document = {"name": path.stem, "kind": "emulated", "reach": "local", "runtime": {"provider": "cpu"}}
    path.write_text(yaml.safe_dump({**document, "emulates": emulates, "power": [POWER] if sampled else []}))
    return path


def measure(folder: Path, edge: Path, requests: int) -> pd.DataFrame:
    """The requests of one repeat of co-inference with the bottleneck, at full T."""
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell

    cell = "[{mode: co_inference, model: coded, codec: packed}]"
    overrides = ("repeats=1", "idle_s=0.3", f"scenario.requests={requests}", f"cells={cell}")
    planned = make_plan(ROOT / "experiments" / "quickstart.yaml", folder, overrides=overrides, edge=edge)
    statuses = asyncio.run(Campaign(planned, Silent(), Invocation(argv=[], file="quickstart.yaml")).run())
    assert statuses[0].state == "complete", statuses
    requests = read_cell(planned.cells[0].folder.path).requests
    shutil.rmtree(planned.folder.path)  # else the next run would set it aside, and say so
    return requests


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = measure(folder, profile(folder, sampled=True), 500)
    parts = rows[["edge_compute_ms", "encode_ms", "cloud_compute_ms"]].sum(axis=1)
    added = rows["latency_ms"] - parts
    per_step = added / rows["exit_timestep"]
    print(f"{'added ms':>24} {'p50':>7} {'p95':>7} {'to reach':>10}")
    print(f"{'per request (4 trips)':>24} {added.median():>7.3f} {added.quantile(0.95):>7.3f} {'p50 < 0.5':>10}")
    print(f"{'per timestep':>24} {per_step.median():>7.3f} {per_step.quantile(0.95):>7.3f}")
