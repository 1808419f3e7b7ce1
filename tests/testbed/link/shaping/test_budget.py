from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from devices.links.conditions import Capacity
from testbed.link.shaping.budget import NEVER, ByteBudget

MS = 1_000_000
steps = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20_000)), min_size=1, max_size=8)


def capacity(pieces: list[tuple[int, int]]) -> Capacity:
    ms, carried = zip(*pieces, strict=True)
    ends = list(accumulate(carried))
    ends[-1] += ends[-1] == 0
    return Capacity(ms=[0, *accumulate(ms)], bytes=[0, *ends])


def constant(mbit_s: float) -> Capacity:
    return Capacity(ms=[0, 1000], bytes=[0, round(mbit_s * 125_000)])


@given(steps, st.integers(0, 10**6), st.integers(0, 10**12))
def test_the_moment_of_a_position_is_the_first_that_has_it(pieces, position: int, now_ns: int):
    budget = ByteBudget(capacity(pieces), now_ns)
    moment_ns = budget.when(position)
    assert budget.at(moment_ns) >= position - 1e-5
    assert moment_ns == now_ns or budget.at(moment_ns - 1) < position


@given(steps, st.integers(0, 5), st.integers(0, 10_000))
def test_a_trace_begins_anew_on_top_of_what_it_carried(pieces, passes: int, after_ms: int):
    trace = capacity(pieces)
    budget = ByteBudget(trace, 7)
    period_ms = trace.ms[-1]
    later = budget.at(7 + (passes * period_ms + after_ms) * MS)
    assert abs(later - passes * trace.bytes[-1] - budget.at(7 + after_ms * MS)) < 1e-3


def test_a_pause_of_the_trace_is_waited_out_and_not_entered():
    budget = ByteBudget(Capacity(ms=[0, 10, 20, 30], bytes=[0, 1000, 1000, 2000]), 0)
    assert budget.when(1000) == 10 * MS
    assert budget.when(1001) == 20 * MS + 10_000
    assert budget.when(2000) == 30 * MS
    assert budget.when(2500) == 35 * MS


def test_nothing_adds_up_over_days():
    budget = ByteBudget(constant(100), 0)
    day_bytes = 86_400 * 12_500_000
    assert abs(budget.when(7 * day_bytes) - 7 * 86_400 * 1000 * MS) <= 1000


def test_a_restart_begins_the_trace_and_keeps_the_position():
    budget = ByteBudget(Capacity(ms=[0, 10, 20], bytes=[0, 1000, 1000]), 0)
    budget.restart(15 * MS)
    assert budget.at(15 * MS) == 1000
    assert budget.when(1500) == 20 * MS


def test_a_lower_rate_holds_from_its_moment_on():
    budget = ByteBudget(constant(8), 0)
    budget.set_rate(0.25, 10 * MS)
    assert budget.when(10_000) == 10 * MS
    assert budget.when(10_250) == 11 * MS
    budget.set_rate(0.0, 11 * MS)
    assert budget.when(10_251) == NEVER
    budget.set_rate(1.0, 100 * MS)
    assert budget.when(10_251) == 100 * MS + 1000


def test_a_restart_keeps_the_rate_it_was_slowed_down_to():
    budget = ByteBudget(constant(8), 0)
    budget.set_rate(0.5, 10 * MS)
    budget.restart(20 * MS)
    assert budget.at(20 * MS) == 15_000
    assert budget.when(15_500) == 21 * MS
