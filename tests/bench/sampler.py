"""What power sampling at 100 Hz costs: request latency with and without it, and the sampler's share of a core."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from devices.activity import ActivityWriter
from devices.power.client import PowerSampler
from devices.profile import load_profile
from tests.bench.request import measure, profile

ROUNDS = 4
SECONDS = 15


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        p50: dict[bool, list[float]] = {True: [], False: []}
        for number in range(ROUNDS):
            for sampled in (True, False) if number % 2 else (False, True):
                rows = measure(folder, profile(folder, sampled=sampled), 500)
                p50[sampled].append(float(rows["latency_ms"].median()))
        with_ms, without_ms = statistics.median(p50[True]), statistics.median(p50[False])
        share = _share(folder)
    print(f"{'':>24} {'with':>8} {'without':>8} {'ratio':>7} {'to reach':>9}")
    print(f"{'latency p50 ms':>24} {with_ms:>8.3f} {without_ms:>8.3f} {with_ms / without_ms:>7.3f} {'<= 1.01':>9}")
    print(f"{'share of a core':>24} {share:>8.2%} {'':>8} {'':>7} {'< 2%':>9}")


def _share(folder: Path) -> float:
    activity = folder / "activity"
    writer = ActivityWriter(activity)
    with PowerSampler.start(
        load_profile(profile(folder, sampled=True)), "edge", folder / "power.jsonl", activity
    ) as sampler:
        process = psutil.Process(sampler.pid)
        before, start = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(SECONDS)
        used = sum(process.cpu_times()[:2]) - before
        seconds = time.monotonic() - start
        sampler.stop()
    writer.close()
    return used / seconds
