"""Power sampling: rates and lateness it reaches, its share of a core, and what it costs a request."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from devices.activity import ActivityWriter
from devices.power.client import PowerSampler
from devices.power.ina import InaPower
from devices.power.sampler import SamplerReport
from devices.profile import Profile, Runtime, load_profile
from tests.bench.request import measure, profile
from tests.fakes.sysfs import FakeTree, SimRail, triangle

ROUNDS = 4
SECONDS = 15
INA_SECONDS = 5
RATES_HZ = (10, 100, 500)


def run() -> None:
    """Print the tables."""
    rates()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        p50: dict[bool, list[float]] = {True: [], False: []}
        for number in range(ROUNDS):
            for sampled in (True, False) if number % 2 else (False, True):
                rows = measure(folder, profile(folder, sampled=sampled), 500)
                p50[sampled].append(float(rows["latency_ms"].median()))
        with_ms, without_ms = statistics.median(p50[True]), statistics.median(p50[False])
        activity = folder / "activity"
        writer = ActivityWriter(activity)
        share, _ = _measure(load_profile(profile(folder, sampled=True)), folder / "power.jsonl", activity, SECONDS)
        writer.close()
    print(f"{'':>24} {'with':>8} {'without':>8} {'ratio':>7} {'to reach':>9}")
    print(f"{'latency p50 ms':>24} {with_ms:>8.3f} {without_ms:>8.3f} {with_ms / without_ms:>7.3f} {'<= 1.01':>9}")
    print(f"{'share of a core':>24} {share:>8.2%} {'':>8} {'':>7} {'< 2%':>9}")


def rates() -> None:
    """An AGX Orin's four rails (eight files) in a made-up sysfs: plain files, without the time of an I2C bus."""
    columns = ("reads/s", "of asked", "late p50", "late p99", "p99/period", "core")
    print(f"{'INA, 4 rails':>12}" + "".join(f"{column:>12}" for column in columns))
    for rate_hz in RATES_HZ:
        with tempfile.TemporaryDirectory() as name:
            tree = FakeTree(Path(name) / "root")
            tree.board("NVIDIA Jetson AGX Orin Developer Kit")
            rails = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
            tree.hwmon("1-0040", 3, [SimRail(rail, 20000, 2000, triangle(2000, 8000, 0.8)) for rail in rails])
            tree.hwmon("1-0041", 4, [SimRail("VDDQ_VDD2_1V8AO", 5000, 2000, triangle(200, 800, 0.8))])
            node = Profile(
                name="orin",
                kind="jetson",
                reach="local",
                runtime=Runtime(provider="cpu"),
                root=str(tree.root),
                power=[InaPower(rate_hz=rate_hz)],
            )
            # It moves slowly, so that moving it does not take the time that is measured.
            with tree.moving(period_s=0.05):
                share, report = _measure(node, Path(name) / "power.jsonl", Path(name) / "none", INA_SECONDS)
            tree.close()
        [source] = report.sources
        reads = source.samples / len(source.rails)
        late = source.lateness_us
        cells = (
            f"{reads / INA_SECONDS:.1f}",
            f"{reads / (reads + source.missed):.1%}",
            f"{late.p50:.0f} µs",
            f"{late.p99:.0f} µs",
            f"{late.p99 * rate_hz / 1e6:.3f}",
            f"{share:.2%}",
        )
        print(f"{rate_hz:>9} Hz" + "".join(f"{cell:>12}" for cell in cells))


def _measure(node: Profile, out: Path, activity: Path, seconds: float) -> tuple[float, SamplerReport]:
    """The sampler's share of a core over some seconds, and its report."""
    with PowerSampler.start(node, "edge", out, activity) as sampler:
        process = psutil.Process(sampler.pid)
        before, start = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        used = sum(process.cpu_times()[:2]) - before
        taken_s = time.monotonic() - start
        report = sampler.stop()
    return used / taken_s, report
