"""Orders are drawn from the seed, and touch every cell and every sample alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.campaign import order


@given(st.lists(st.text(), unique=True, min_size=1), st.integers(1, 5), st.integers(0, 9))
def test_every_repeat_has_every_cell_once_and_repeats_follow_each_other(names, repeats, seed) -> None:
    passes = order.passes(names, repeats, seed)
    assert [repeat for repeat, _ in passes] == [repeat for repeat in range(repeats) for _ in names]
    for repeat in range(repeats):
        assert sorted(cell for number, cell in passes if number == repeat) == sorted(names)
    assert order.passes(names, repeats, seed) == passes


def test_cells_are_not_always_in_the_same_order() -> None:
    passes = order.passes(range(10), 2, 0)
    assert passes[:10] != [(0, cell) for _, cell in passes[10:]]


@given(st.integers(1, 20), st.integers(1, 60), st.integers(1, 5), st.integers(0, 3))
def test_each_sample_is_asked_for_before_any_twice(count, wanted, warmup, repeat) -> None:
    drawn = order.samples(count, wanted, warmup, seed=1, repeat=repeat)
    assert (len(drawn.measured), len(drawn.warmup)) == (wanted, warmup)
    for start in range(0, wanted, count):
        chunk = drawn.measured[start : start + count]
        assert len(set(chunk)) == len(chunk)
    assert drawn == order.samples(count, wanted, warmup, seed=1, repeat=repeat)


def test_samples_differ_between_repeats() -> None:
    first, second = (order.samples(50, 50, 1, seed=1, repeat=repeat).measured for repeat in (0, 1))
    assert first != second


def test_cells_may_be_measured_as_they_are_written() -> None:
    assert order.passes("ba", 2, 0, "as_written") == [(0, "b"), (0, "a"), (1, "b"), (1, "a")]
