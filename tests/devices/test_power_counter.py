"""Mean power from an energy counter loses no energy, whatever the reads and wherever it starts again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.power.counter import EnergyCounter

RANGE = 1_000_000
S = 1_000_000_000


@given(
    start=st.integers(0, RANGE - 1),
    steps=st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, RANGE - 1)), max_size=50),
)
def test_no_energy_is_lost_where_the_counter_starts_again(start: int, steps: list[tuple[int, int]]) -> None:
    counter = EnergyCounter(mj_per_count=1e-3, wraps_at=RANGE, max_mw=math.inf)
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
    counter = EnergyCounter(mj_per_count=1, wraps_at=RANGE, max_mw=1000)
    counter.advance(0, 5)
    assert counter.advance(S, 5) is None
    assert counter.advance(2 * S, 25) == (S, 10.0)


def test_a_counter_that_begins_anew_gives_no_power_and_goes_on_from_there() -> None:
    counter = EnergyCounter(mj_per_count=1, wraps_at=2**32, max_mw=250_000)
    counter.advance(0, 70_000)
    counter.advance(S, 170_000)
    assert counter.advance(2 * S, 40) is None, "as a wrap this is 4.29 MW"
    assert counter.advance(3 * S, 100_040) == (5 * S // 2, 100_000)
    assert (counter.left_out, counter.total_mj, counter.span_s) == (1, 200_000, 2.0)


def test_a_counter_of_32_bits_loses_nothing_where_it_wraps() -> None:
    counter = EnergyCounter(mj_per_count=1, wraps_at=2**32, max_mw=250_000)
    counter.advance(0, 2**32 - 60_000)
    assert counter.advance(S, 40_000) == (S // 2, 100_000)
    assert counter.left_out == 0


def test_a_first_step_right_after_the_first_reading_is_neither_power_nor_a_fault() -> None:
    counter = EnergyCounter(mj_per_count=1, wraps_at=2**32, max_mw=250_000)
    counter.advance(0, 0)
    assert counter.advance(S // 1000, 5_000) is None, "what 5 W took in the second before, in one millisecond"
    assert counter.advance(S // 1000 + S, 10_000) == (S // 1000 + S // 2, 5_000)
    assert counter.left_out == 0
