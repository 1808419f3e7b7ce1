from __future__ import annotations

import numpy as np
import pytest

from analysis.sampling import edge_limit_mj, same_code_s2
from devices.power.counter import EnergyCounter
from testbed.record.trapezoid import Trace
from tests.analysis.sensors import Chip, Load, square

SECOND = 1_000_000_000


@pytest.mark.parametrize("averaging_s", [0.0066, 0.422])
def test_a_window_that_is_all_of_a_step_loses_a_quarter_of_the_averaging_time(averaging_s: float) -> None:
    """A centred mean over A turns each step into a ramp of length A, half of which lies outside: R·A/8 at each end."""
    load = Load(np.array([0.0, 5.0, 25.0, 30.0]), np.array([0.0, 1000.0, 0.0, 0.0]))
    t_s = np.arange(1, 29, 1e-4)
    mean = (load.up_to(t_s + averaging_s / 2) - load.up_to(t_s - averaging_s / 2)) / averaging_s
    trace = Trace(np.rint(t_s * 1e9).astype(np.int64), mean)
    found = trace.energy_mj(5 * SECOND, 25 * SECOND)
    assert found == pytest.approx(1000 * (20 - averaging_s / 4), rel=1e-6)
    assert edge_limit_mj(trace, 5 * SECOND, 25 * SECOND, averaging_s) == pytest.approx(1000 * (averaging_s + 1e-4))


@pytest.mark.parametrize("averaging_s", [0.0066, 0.422])
@pytest.mark.parametrize("rate_hz", [10, 100])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.7])
def test_a_steps_energy_is_within_the_edges_limit_of_a_real_chip(
    averaging_s: float, rate_hz: int, phase: float
) -> None:
    load = Load(np.array([0.0, 5.0, 25.0, 30.0]), np.array([500.0, 1500.0, 500.0, 500.0]))
    trace = Chip(averaging_s, rate_hz, block_at_s=phase * averaging_s).read(load, 2 + phase / rate_hz, 29)
    error = trace.energy_mj(5 * SECOND, 25 * SECOND) - 1500 * 20
    limit = edge_limit_mj(trace, 5 * SECOND, 25 * SECOND, averaging_s)
    assert abs(error) <= limit
    assert limit == pytest.approx(1000 * (averaging_s + 1 / rate_hz))


def test_a_square_wave_faster_than_the_averaging_time_is_its_mean() -> None:
    load = square(0.1, 4000, 6000, 40)
    trace = Chip(0.422, 10).read(load, 2, 38)
    assert trace.energy_mj(5 * SECOND, 35 * SECOND) == pytest.approx(150_000, abs=5000 * 0.422)


def test_a_square_wave_slower_than_the_averaging_time_is_followed() -> None:
    load = square(2.0, 4000, 6000, 40)
    trace = Chip(0.0066, 100).read(load, 2, 38)
    # Low from 5 s on, high from 6 s, ...: 31 steps, each seen half a period and half an averaging time off at most.
    error = trace.energy_mj(5 * SECOND, 36_500_000_000) - (16 * 4000 + 15.5 * 6000)
    assert abs(error) <= 31 * 2000 * (0.01 + 0.0066) / 2


def test_a_pause_in_the_window_may_be_wrong_by_half_its_length() -> None:
    t_s = np.arange(0, 30, 0.1)
    mw = np.where(t_s < 12, 4000.0, 6000.0)
    whole = Trace(np.rint(t_s * 1e9).astype(np.int64), mw)
    kept = (t_s < 11.45) | (t_s > 14.35)
    torn = Trace(whole.t_ns[kept], whole.mw[kept])
    truth = 4000 * 7 + 6000 * 13
    assert edge_limit_mj(whole, 5 * SECOND, 25 * SECOND, 0.0) == 0
    limit = edge_limit_mj(torn, 5 * SECOND, 25 * SECOND, 0.0)
    assert limit == pytest.approx(2000 * 3.0 / 2)
    assert 0 < abs(torn.energy_mj(5 * SECOND, 25 * SECOND) - truth) <= limit


def test_a_clocks_bound_moves_the_edges() -> None:
    t_s = np.arange(0, 30, 0.01)
    trace = Trace(np.rint(t_s * 1e9).astype(np.int64), np.where((t_s >= 5) & (t_s < 25), 6000.0, 4000.0))
    at = edge_limit_mj(trace, 5 * SECOND, 25 * SECOND, 0.0)
    assert edge_limit_mj(trace, 5 * SECOND, 25 * SECOND, 0.0, 0.5) - at == pytest.approx(2 * 2000 * 0.5)


def test_readings_of_one_code_share_their_rounding_and_other_codes_do_not() -> None:
    weight = np.full(100, 0.1)
    steady = np.full(100, 5200.0)
    assert same_code_s2(steady, weight, 400.0) == pytest.approx(10.0**2)
    assert same_code_s2(np.where(np.arange(100) < 50, 5200.0, 6000.0), weight, 400.0) == pytest.approx(2 * 5.0**2)
    assert same_code_s2(steady + np.linspace(-150, 150, 100), weight, 400.0) == pytest.approx(10.0**2)


def test_an_energy_counter_is_integrated_to_what_it_counted_also_when_it_wraps() -> None:
    load = square(0.7, 4000, 6000, 40)
    wraps_at = 65_532_610  # µJ: at 5 W it wraps every 13 s
    reader = EnergyCounter(mj_per_count=1e-3, wraps_at=wraps_at, max_mw=1e9)
    reads_s = np.arange(1.0, 39.0, 0.1)
    counts = (load.up_to(reads_s) * 1e3).astype(np.int64) % wraps_at
    assert (np.diff(counts) < 0).sum() == 2
    found = [reader.advance(round(t * 1e9), int(count)) for t, count in zip(reads_s, counts, strict=True)]
    samples = [sample for sample in found if sample is not None]
    trace = Trace(np.array([t for t, _ in samples]), np.array([mw for _, mw in samples]))
    error = trace.energy_mj(5 * SECOND, 35 * SECOND) - load.energy_mj(5, 35)
    assert abs(error) <= edge_limit_mj(trace, 5 * SECOND, 35 * SECOND, 0.1)
