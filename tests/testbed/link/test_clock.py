from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import LinkError
from testbed.link.clock import Exchange, estimate

delays = st.integers(0, 10**10)
trips = st.lists(st.tuples(st.integers(0, 2**62), delays, delays, delays), min_size=1, max_size=20)


def exchange(offset: int, start: int, there: int, held: int, back: int) -> Exchange:
    t2 = start + there + offset
    return Exchange(start, t2, t2 + held, start + there + held + back)


@given(st.integers(-(2**62), 2**62), trips)
def test_the_true_offset_lies_within_the_bound_however_unequal_the_ways(offset: int, trips):
    result = estimate([exchange(offset, *trip) for trip in trips])
    assert abs(result.offset_ns - offset) <= result.bound_ns
    assert result.rtt_ns == min(there + back for _, there, _, back in trips)
    assert result.bound_ns == (result.rtt_ns + 1) // 2
    assert result.exchanges == len(trips)


@given(st.integers(-(2**62), 2**62), delays, delays)
def test_equal_ways_give_the_exact_offset(offset: int, delay: int, held: int):
    assert estimate([exchange(offset, 5, delay, held, delay)]).offset_ns == offset


def test_the_bound_is_reached_when_one_way_takes_all_the_time():
    result = estimate([exchange(1000, 0, 600, 50, 0)])
    assert (result.offset_ns, result.bound_ns) == (1300, 300)


def test_one_quick_exchange_among_slow_ones_decides():
    slow = exchange(70, 0, 10**9, 0, 0)
    assert estimate([slow, exchange(70, 10, 4, 9, 4), slow]).offset_ns == 70


def test_no_exchange_gives_no_offset():
    with pytest.raises(LinkError, match="no ping was answered"):
        estimate([])


@pytest.mark.parametrize("impossible", [Exchange(0, 10, 9, 20), Exchange(0, 0, 100, 50)])
def test_a_clock_that_ran_backwards_is_not_averaged_away(impossible: Exchange):
    with pytest.raises(LinkError, match="backwards"):
        estimate([exchange(0, 0, 1, 1, 1), impossible])
