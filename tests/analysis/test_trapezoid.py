from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.trapezoid import Trace, edge_limit_mj, integrate, same_code_s2, weights
from devices.power.counter import EnergyCounter
from testbed.errors import RecordError
from tests.analysis.sensors import Chip, Load, square

SECOND = 1_000_000_000
LONG_AFTER_BOOT = 400 * 24 * 3600 * SECOND


def test_energy_of_constant_power_is_exact() -> None:
    t = LONG_AFTER_BOOT + np.arange(0, 11) * SECOND
    assert integrate(t, np.full(11, 5000.0), t[0] + 1, t[0] + 9 * SECOND + 1) == pytest.approx(45_000, rel=1e-12)


def test_energy_of_a_ramp_is_exact() -> None:
    t = LONG_AFTER_BOOT + np.arange(0, 11) * SECOND
    mw = 100.0 * np.arange(0, 11)
    # From 2.5 s to 7.25 s: 50 (7.25² − 2.5²).
    found = integrate(t, mw, LONG_AFTER_BOOT + 2_500_000_000, LONG_AFTER_BOOT + 7_250_000_000)
    assert found == pytest.approx(50 * (7.25**2 - 2.5**2), rel=1e-12)


def test_power_below_zero_takes_energy_away() -> None:
    assert integrate([0, SECOND, 2 * SECOND], [-100.0, -100.0, 300.0], 0, 2 * SECOND) == pytest.approx(0.0)


def test_a_window_between_two_samples_is_interpolated() -> None:
    assert integrate([0, 10 * SECOND], [0.0, 1000.0], 4 * SECOND, 6 * SECOND) == pytest.approx(1000.0)


@given(st.lists(st.floats(0, 1e5), min_size=3, max_size=30), st.data())
def test_energies_of_adjacent_windows_add_up(mw: list[float], data: st.DataObject) -> None:
    t = np.arange(len(mw)) * SECOND
    middle = data.draw(st.integers(1, int(t[-1]) - 1))
    whole = integrate(t, mw, 0, int(t[-1]))
    assert integrate(t, mw, 0, middle) + integrate(t, mw, middle, int(t[-1])) == pytest.approx(whole, abs=1e-3)


@given(st.lists(st.integers(0, 10**10), min_size=2, max_size=30), st.data())
def test_the_weights_are_no_less_than_zero_and_sum_to_the_windows_length(times: list[int], data: st.DataObject) -> None:
    t = np.sort(np.array(times, dtype=np.int64))
    start = data.draw(st.integers(int(t[0]), int(t[-1])))
    end = data.draw(st.integers(start, int(t[-1])))
    if start == end:
        return
    found = weights(t, start, end)
    assert (found >= -1e-12).all()
    assert found.sum() == pytest.approx((end - start) / 1e9, abs=1e-9)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (1, 11)])
def test_a_gap_at_the_windows_edge_is_an_error(start: int, end: int) -> None:
    with pytest.raises(RecordError, match="do not cover"):
        integrate([0, 10], [1.0, 1.0], start, end)


def test_one_sample_is_an_error() -> None:
    with pytest.raises(RecordError, match="at least two"):
        integrate([0], [1.0], 0, 1)


def test_a_sample_that_is_no_number_is_an_error() -> None:
    with pytest.raises(RecordError, match="not numbers"):
        integrate([0, 1, 2], [1.0, float("nan"), 1.0], 0, 2)


@pytest.mark.parametrize("averaging_s", [0.0066, 0.422])
def test_a_window_that_is_all_of_a_step_loses_a_quarter_of_the_averaging_time(averaging_s: float) -> None:
    """A centred mean over A turns each step into a ramp of length A, half of which lies outside: R·A/8 at each end."""
    load = Load(np.array([0.0, 5.0, 25.0, 30.0]), np.array([0.0, 1000.0, 0.0, 0.0]))
    t_s = np.arange(1, 29, 1e-4)
    mean = (load.up_to(t_s + averaging_s / 2) - load.up_to(t_s - averaging_s / 2)) / averaging_s
    trace = Trace(np.rint(t_s * 1e9).astype(np.int64), mean)
    found = integrate(trace.t_ns, trace.mw, 5 * SECOND, 25 * SECOND)
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
    error = integrate(trace.t_ns, trace.mw, 5 * SECOND, 25 * SECOND) - 1500 * 20
    limit = edge_limit_mj(trace, 5 * SECOND, 25 * SECOND, averaging_s)
    assert abs(error) <= limit
    assert limit == pytest.approx(1000 * (averaging_s + 1 / rate_hz))


def test_a_square_wave_faster_than_the_averaging_time_is_its_mean() -> None:
    load = square(0.1, 4000, 6000, 40)
    trace = Chip(0.422, 10).read(load, 2, 38)
    assert integrate(trace.t_ns, trace.mw, 5 * SECOND, 35 * SECOND) == pytest.approx(150_000, abs=5000 * 0.422)


def test_a_square_wave_slower_than_the_averaging_time_is_followed() -> None:
    load = square(2.0, 4000, 6000, 40)
    trace = Chip(0.0066, 100).read(load, 2, 38)
    # Low from 5 s on, high from 6 s, ...: 31 steps, each seen half a period and half an averaging time off at most.
    error = integrate(trace.t_ns, trace.mw, 5 * SECOND, 36_500_000_000) - (16 * 4000 + 15.5 * 6000)
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
    assert 0 < abs(integrate(torn.t_ns, torn.mw, 5 * SECOND, 25 * SECOND) - truth) <= limit


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
    reader = EnergyCounter("package", mj_per_count=1e-3, wraps_at=wraps_at)
    reads_s = np.arange(1.0, 39.0, 0.1)
    counts = (load.up_to(reads_s) * 1e3).astype(np.int64) % wraps_at
    assert (np.diff(counts) < 0).sum() == 2
    found = [reader.advance(round(t * 1e9), int(count)) for t, count in zip(reads_s, counts, strict=True)]
    samples = [sample for sample in found if sample is not None]
    trace = Trace(np.array([t for t, _ in samples]), np.array([mw for _, mw in samples]))
    error = integrate(trace.t_ns, trace.mw, 5 * SECOND, 35 * SECOND) - load.energy_mj(5, 35)
    assert abs(error) <= edge_limit_mj(trace, 5 * SECOND, 35 * SECOND, 0.1)
