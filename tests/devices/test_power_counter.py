"""Mean power from an energy counter loses no energy, whatever the reads and wherever it starts again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.base.errors import DeviceError
from devices.power.counter import EnergyCounter

RANGE = 1_000_000


@given(
    start=st.integers(0, RANGE - 1),
    steps=st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, RANGE - 1)), max_size=50),
)
def test_no_energy_is_lost_where_the_counter_starts_again(start: int, steps: list[tuple[int, int]]) -> None:
    counter = EnergyCounter("c", mj_per_count=1e-3, wraps_at=RANGE)
    counter.advance(0, start)
    t_ns = last_ns = 0
    count, energy_mj = start, 0.0
    for duration_ns, moved in steps:
        t_ns += duration_ns
        count += moved
        mean = counter.advance(t_ns, count % RANGE)
        if moved == 0:
            assert mean is None
            continue
        assert mean is not None
        assert mean[0] == (last_ns + t_ns) // 2
        energy_mj += mean[1] * (t_ns - last_ns) / 1e9
        last_ns = t_ns
    assert energy_mj == pytest.approx((count - start) * 1e-3)
    assert counter.total_mj == pytest.approx(energy_mj)
    assert counter.span_s == pytest.approx(last_ns / 1e9)


def test_a_counter_that_stands_still_gives_no_sample_rather_than_0_mw() -> None:
    counter = EnergyCounter("c", mj_per_count=1)
    counter.advance(0, 5)
    assert counter.advance(10**9, 5) is None
    assert counter.advance(2 * 10**9, 25) == (10**9, 10.0)


def test_a_counter_that_goes_back_without_a_range_is_an_error() -> None:
    counter = EnergyCounter("gpu", mj_per_count=1)
    counter.advance(0, 5)
    with pytest.raises(DeviceError, match="gpu: the energy counter went back from 5 to 4"):
        counter.advance(1, 4)
