from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import RecordError
from testbed.record.trapezoid import Trace, weights

SECOND = 1_000_000_000
LONG_AFTER_BOOT = 400 * 24 * 3600 * SECOND


def trace(t_ns: list[int], mw: list[float]) -> Trace:
    return Trace(np.array(t_ns, dtype=np.int64), np.array(mw))


def test_energy_of_constant_power_is_exact() -> None:
    t = LONG_AFTER_BOOT + np.arange(0, 11) * SECOND
    assert Trace(t, np.full(11, 5000.0)).energy_mj(t[0] + 1, t[0] + 9 * SECOND + 1) == pytest.approx(45_000, rel=1e-12)


def test_energy_of_a_ramp_is_exact() -> None:
    t = LONG_AFTER_BOOT + np.arange(0, 11) * SECOND
    mw = 100.0 * np.arange(0, 11)
    # From 2.5 s to 7.25 s: 50 (7.25² − 2.5²).
    found = Trace(t, np.array(mw)).energy_mj(LONG_AFTER_BOOT + 2_500_000_000, LONG_AFTER_BOOT + 7_250_000_000)
    assert found == pytest.approx(50 * (7.25**2 - 2.5**2), rel=1e-12)


def test_power_below_zero_takes_energy_away() -> None:
    assert trace([0, SECOND, 2 * SECOND], [-100.0, -100.0, 300.0]).energy_mj(0, 2 * SECOND) == pytest.approx(0.0)


def test_a_window_between_two_samples_is_interpolated() -> None:
    assert trace([0, 10 * SECOND], [0.0, 1000.0]).energy_mj(4 * SECOND, 6 * SECOND) == pytest.approx(1000.0)


@given(st.lists(st.floats(0, 1e5), min_size=3, max_size=30), st.data())
def test_energies_of_adjacent_windows_add_up(mw: list[float], data: st.DataObject) -> None:
    t = np.arange(len(mw)) * SECOND
    middle = data.draw(st.integers(1, int(t[-1]) - 1))
    found = Trace(t, np.array(mw))
    whole = found.energy_mj(0, int(t[-1]))
    parts = found.energy_mj(0, middle) + found.energy_mj(middle, int(t[-1]))
    assert parts == pytest.approx(whole, abs=1e-3)


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
        trace([0, 10], [1.0, 1.0]).energy_mj(start, end)


def test_one_sample_is_an_error() -> None:
    with pytest.raises(RecordError, match="at least two"):
        trace([0], [1.0]).energy_mj(0, 1)


def test_a_sample_that_is_no_number_is_an_error() -> None:
    with pytest.raises(RecordError, match="not numbers"):
        trace([0, 1, 2], [1.0, float("nan"), 1.0]).energy_mj(0, 2)


def test_a_mean_is_over_time_and_not_over_samples() -> None:
    # Ten seconds at 1 W, then a hundred samples within one second at 3 W.
    t_ns = [0, 10 * SECOND, *(10 * SECOND + n * SECOND // 100 for n in range(1, 101))]
    found = trace(t_ns, [1000.0, 1000.0, *[3000.0] * 100]).mean_mw
    assert found == pytest.approx((10 * 1000 + 0.01 * 2000 + 0.99 * 3000) / 11)


def test_a_mean_of_one_sample_is_an_error() -> None:
    with pytest.raises(RecordError, match="at least two"):
        _ = trace([0], [1.0]).mean_mw
