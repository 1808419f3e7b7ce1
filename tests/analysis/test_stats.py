from __future__ import annotations

import pytest
from scipy.stats import binomtest, ttest_1samp

from analysis.stats import over_repeats, t_quantile, wilson


def test_the_interval_of_a_share_contains_it_for_every_number_of_samples_to_2000() -> None:
    for count in range(1, 2001):
        for right in {0, 1, count // 3, count - 1, count}:
            low, high = wilson(right / count, count)
            assert 0 <= low <= right / count <= high <= 1, (right, count)


def test_all_right_and_all_wrong_end_at_one_and_at_zero() -> None:
    assert all(wilson(1.0, count)[1] == 1.0 for count in range(1, 2001))
    assert all(wilson(0.0, count)[0] == 0.0 for count in range(1, 2001))


@pytest.mark.parametrize(("right", "count"), [(0, 7), (3, 10), (171, 180), (999, 1000), (5, 5)])
def test_a_whole_number_of_right_answers_has_scipys_interval(right: int, count: int) -> None:
    found = binomtest(right, count).proportion_ci(0.95, "wilson")
    assert wilson(right / count, count) == pytest.approx((found.low, found.high))


def test_an_interval_over_repeats_is_scipys_of_one_sample() -> None:
    values = [9.0, 10.5, 11.0, 9.8]
    found, expected = over_repeats(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((expected.low, expected.high))
    assert over_repeats([9.0]).half is None


def test_students_t_goes_on_beyond_thirty_degrees_of_freedom() -> None:
    assert t_quantile(2) == pytest.approx(4.302653, abs=1e-6)
    assert t_quantile(30) == pytest.approx(2.042272, abs=1e-6)
    assert t_quantile(10**9) == pytest.approx(1.959964, abs=1e-6)
