"""What a difference is worth, on made-up numbers whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.compare.numbers import Number
from analysis.compare.verdict import difference, judge


def number(values, **changes) -> Number:
    return Number("ms", dict(enumerate(values)), **changes)


def compared(a, b, *, paired=True, within=0.0, **changes):
    return difference("latency_p50_ms", number(a, **changes), number(b, **changes), paired=paired, within=within)


def verdict(*found):
    return [each.verdict for each in judge({"all": list(found)})["all"]]


def test_what_all_repeats_share_cancels_where_they_are_paired() -> None:
    slow_and_fast = [10.0, 20.0, 30.0, 40.0]
    later = [value + 1 + wobble for value, wobble in zip(slow_and_fast, (0.05, -0.05, 0.02, -0.02), strict=True)]
    found = compared(slow_and_fast, later)
    assert found.low < 1 < found.high
    assert verdict(found) == ["beyond noise"]
    assert verdict(compared(slow_and_fast, later, paired=False)) == ["within noise"]


def test_the_intervals_are_those_of_scipy() -> None:
    from scipy import stats

    a, b = [10.0, 10.4, 9.7, 10.1], [11.0, 10.9, 11.6, 12.5]
    found = compared(a, b)
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_rel(b, a).confidence_interval()))
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
    apart = compared(a, b, paired=False)
    welch = stats.ttest_ind(b, a, equal_var=False)
    assert (apart.low, apart.high) == pytest.approx(tuple(welch.confidence_interval()))
    assert apart.p == pytest.approx(welch.pvalue)


def test_the_same_numbers_differ_in_nothing_and_a_constant_difference_is_no_noise() -> None:
    same, off = compared([8.0, 8.5, 9.0], [8.0, 8.5, 9.0]), compared([8.0, 8.5, 9.0], [16.0, 16.5, 17.0])
    assert (same.low, same.high, same.p) == (0, 0, 1)
    assert (off.low, off.high, off.p) == (8, 8, 0)
    assert verdict(same, off) == ["within noise", "beyond noise"]


def test_sums_in_another_order_are_no_difference() -> None:
    assert compared([0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2]).p == 1


def test_a_tolerance_must_be_left_by_more_than_noise() -> None:
    a, b = [100.0, 100.1, 99.9, 100.0], [106.0, 106.2, 105.9, 106.1]
    assert verdict(compared(a, b, within=0.05)) == ["beyond noise"]
    assert verdict(compared(a, b, within=0.06)) == ["within noise"]
    assert compared(a, b, within=0.06).tolerance == pytest.approx(6)


def test_a_single_repeat_has_no_verdict() -> None:
    found = compared([8.0], [9.0])
    assert (found.low, found.high, found.p) == (None, None, None)
    assert verdict(found) == ["unknown"]


def test_the_uncertainty_of_two_sensors_counts_and_that_of_one_cancels() -> None:
    a, b = [100.0, 100.1, 99.9], [103.0, 103.1, 102.9]
    one = difference("energy_mj", number(a, systematic=2.0, sensor="x"), number(b, systematic=2.0, sensor="x"),
                     paired=True, within=0)  # fmt: skip
    two = difference("energy_mj", number(a, systematic=2.0, sensor="x"), number(b, systematic=2.0, sensor="y"),
                     paired=True, within=0)  # fmt: skip
    assert verdict(one) == ["beyond noise"]
    assert verdict(two) == ["within noise"]
    assert two.high - two.low == pytest.approx(2 * 1.96 * np.hypot(2, 2), rel=0.01)


def test_one_difference_of_many_that_chance_explains_is_unclear() -> None:
    # Alone its p is 0.04; among twenty others one such is expected.
    noisy = [compared([10.0, 11.0, 9.0, 10.5], [10.4, 10.9, 9.3, 10.2]) for _ in range(20)]
    odd = compared([10.0, 11.0, 9.0, 10.5], [10.5, 11.2, 9.2, 11.0])
    assert odd.p < 0.05
    assert verdict(odd) == ["beyond noise"]
    assert verdict(odd, *noisy)[0] == "unclear"


def test_where_nothing_differs_hardly_any_comparison_finds_a_difference() -> None:
    rng = np.random.default_rng(5)
    found = [
        verdict(*(compared(*rng.normal(10, 1, (2, 5)), paired=False) for _ in range(12))).count("beyond noise") > 0
        for _ in range(100)
    ]
    assert sum(found) <= 10  # 5 are expected
