from __future__ import annotations

import pytest

from analysis.texts import number, plus_minus, plus_minus_or_why, significant, times


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (486.078, 5.98, "486 ± 6"),
        (6.31, 2.47, "6.31 ± 2.47"),
        (72.6, 0.864, "72.6 ± 0.9"),
        (125.85, 0.0004, "125.8500 ± 0.0004"),
        (125.85, 4e-14, "126 ± 0"),
        (125.85, 0.0, "126 ± 0"),
        (125.85, None, "126"),
    ],
)
def test_a_mean_and_its_interval_have_the_same_digits(mean, half, text) -> None:
    assert plus_minus(mean, half) == text


def test_a_single_repeat_says_why_it_has_no_interval() -> None:
    assert plus_minus_or_why(5.7, None) == "5.70 (one repeat, no interval)"


def test_numbers_are_rounded_and_never_a_negative_zero() -> None:
    assert (number(-0.001, 2), number(None, 2), significant(0.0456), significant(1234.5)) == (
        "0.00",
        "",
        "0.046",
        "1234",
    )
    assert (times(0.65), times(7706.8), times(None)) == ("0.650×", "7707×", "")
