"""A link's one form: what a capacity carries by when, and what makes two links the same."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.links.conditions import Capacity, Direction, Link


@st.composite
def capacities(draw: st.DrawFn) -> Capacity:
    steps = draw(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 100_000)), min_size=1, max_size=8))
    steps.append((draw(st.integers(1, 1000)), draw(st.integers(1, 100_000))))
    ms, carried = [0], [0]
    for length, more in steps:
        ms.append(ms[-1] + length)
        carried.append(carried[-1] + more)
    return Capacity(ms=ms, bytes=carried)


CONSTANT = Capacity(ms=[0, 1000], bytes=[0, 500_000])
BURSTS = Capacity(ms=[0, 100, 300, 400], bytes=[0, 1000, 1000, 4000])


def test_a_constant_rate_is_two_points():
    assert CONSTANT.carried(250) == 125_000
    assert CONSTANT.until(125_000) == 250
    assert CONSTANT.mean_bytes_per_s == 500_000


def test_nothing_is_carried_where_the_capacity_stands_still():
    assert BURSTS.carried(100) == BURSTS.carried(250) == 1000
    assert BURSTS.until(1000) == 100
    assert BURSTS.until(1001) > 300


def test_a_trace_begins_anew_at_its_end():
    assert BURSTS.carried(400) == 4000
    assert BURSTS.carried(450) == 4500
    assert BURSTS.until(4500) == 450
    assert BURSTS.until(4000) == 400


@given(capacities(), st.floats(0, 10_000), st.floats(0, 10_000))
def test_it_never_takes_back_what_it_carried(capacity: Capacity, one: float, other: float):
    early, late = sorted((one, other))
    assert capacity.carried(early) <= capacity.carried(late) + 1e-6


@given(capacities(), st.floats(1, 1e6))
def test_what_was_asked_for_is_carried_by_then_and_not_a_moment_before(capacity: Capacity, wanted: float):
    moment = capacity.until(wanted)
    assert capacity.carried(moment) == pytest.approx(wanted, rel=1e-6, abs=1e-3)
    assert capacity.carried(max(0.0, moment - 0.5)) < wanted


@pytest.mark.parametrize(
    ("ms", "carried"),
    [
        ([0, 10], [0]),
        ([1, 10], [0, 5]),
        ([0, 10], [1, 5]),
        ([0, 10, 10], [0, 1, 2]),
        ([0, 10], [0, 0]),
        ([0, 5, 9], [0, 2, 1]),
    ],
)
def test_what_is_no_capacity_is_refused(ms: list[int], carried: list[int]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"ms": ms, "bytes": carried}), type=Capacity)


def test_links_that_shape_alike_have_one_hash_whatever_they_are_called():
    up = Direction(capacity=CONSTANT, delay_ms=5)
    link = Link(name="a", technology="wifi", up=up, down=Direction(), source="x")
    assert link.sha256 == msgspec.structs.replace(link, name="b", source="y").sha256
    assert link.sha256 != msgspec.structs.replace(link, down=Direction(delay_ms=1)).sha256
    assert link.sha256 != msgspec.structs.replace(link, technology="lte").sha256
