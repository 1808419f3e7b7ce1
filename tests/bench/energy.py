"""How far energies are from the analytic truth, at 10 and 100 Hz, on the averaging times of the boards' chips.

A simulated sensor without errors of its own meters a square wave of requests: computing for 30 ms, waiting for 45 ms,
either exactly or 5% more or less. What is left is what sampling and averaging cost, beside the interval given for it.
"""

from __future__ import annotations

import numpy as np

from analysis.energy import combine, draw
from devices.base.power import Rail
from testbed.record.metering import Sensor
from testbed.record.power import Source, Window
from tests.analysis.sensors import Chip, Load

RUNS = 200
REPEATS = 3
WINDOW_S = 20.0
BUSY_S, WAIT_S = 0.030, 0.045
IDLE_MW, BUSY_MW, REST_MW = 5200.0, 7600.0, 5000.0


def run() -> None:
    """Print the table."""
    print(f"Error against the analytic truth, relative, over {RUNS} runs of {REPEATS} repeats of {WINDOW_S:g} s")
    print(f"{'rate':>7} {'averaging':>10} {'requests':>9} {'p50':>8} {'p95':>8} {'interval':>9} {'covered':>8}")
    for averaging_s in (0.0066, 0.422):
        for rate_hz in (10.0, 100.0):
            for variation in (0.0, 0.05):
                _row(averaging_s, rate_hz, variation)


def _row(averaging_s: float, rate_hz: float, variation: float) -> None:
    rng = np.random.default_rng(1)
    count = round(WINDOW_S / (BUSY_S + WAIT_S))
    sensor = Sensor("ina", {"VDD_IN": Rail(name="VDD_IN", scope="module")}, 1e3 * averaging_s)
    errors, halves = [], []
    for _ in range(RUNS):
        draws, truths = [], []
        for _ in range(REPEATS):
            parts_s = np.tile([BUSY_S, WAIT_S], count) * (1 + variation * rng.uniform(-1, 1, 2 * count))
            t_s = 5 + np.concatenate(([0.0], np.cumsum(parts_s)))
            mw = np.tile([BUSY_MW, IDLE_MW], count)
            load = Load(np.concatenate(([0.0], t_s, [t_s[-1] + 5])), np.concatenate(([REST_MW], mw, [REST_MW] * 2)))
            chip = Chip(averaging_s, rate_hz, jitter_s=0.0005, block_at_s=rng.uniform(0, averaging_s))
            trace = chip.read(load, 2 + rng.uniform(0, 1 / rate_hz), t_s[-1] + 4, rng)
            meter = Source("board", "ina", "module", sensor, 1e3 / rate_hz, {"VDD_IN": trace})
            draws.append(draw(meter, Window(round(5e9), round(t_s[-1] * 1e9), count)).per(count))
            truths.append(float(parts_s @ mw) / count)
        found, truth = combine(meter, dict(enumerate(draws))).gross, float(np.mean(truths))
        errors.append(abs(found.mean - truth) / truth)
        halves.append((found.half or 0.0) / truth)
    p50, p95 = np.percentile(errors, [50, 95])
    covered = np.mean(np.array(errors) <= np.array(halves))
    requests, half = "vary" if variation else "alike", np.median(halves)
    line = f"{rate_hz:>4.0f} Hz {1e3 * averaging_s:>7.1f} ms {requests:>9}"
    print(f"{line} {p50:>8.3%} {p95:>8.3%} {half:>9.3%} {covered:>8.1%}")
