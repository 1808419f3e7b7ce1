from __future__ import annotations

import math
import time

import pytest

from devices.emulation import Slowdown


def test_a_stretch_ends_at_the_factor_and_hardly_later() -> None:
    slowdown = Slowdown(3.0)
    excess_ns = []
    for _ in range(10):
        before_ns = time.monotonic_ns()
        t_start_ns = before_ns - 1_000_000
        end_ns = slowdown.stretch(t_start_ns)
        assert end_ns >= t_start_ns + 3 * (before_ns - t_start_ns)
        assert end_ns <= time.monotonic_ns()
        excess_ns.append(end_ns - t_start_ns - 3_000_000)
    # The best of ten, since a loaded machine may wake any single one late.
    assert min(excess_ns) < 1_000_000


def test_a_sleep_that_ends_early_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    t_start_ns = time.monotonic_ns() - 2_000_000
    assert Slowdown(2).stretch(t_start_ns) >= t_start_ns + 4_000_000


def test_a_factor_of_one_returns_at_once() -> None:
    t_start_ns = time.monotonic_ns() - 10**12
    before_ns = time.monotonic_ns()
    assert before_ns <= Slowdown(1).stretch(t_start_ns) <= time.monotonic_ns() < before_ns + 10**9


def test_a_long_stretch_sleeps_and_does_not_spin() -> None:
    cpu_ns = time.thread_time_ns()
    Slowdown(2).stretch(time.monotonic_ns() - 50_000_000)
    assert time.thread_time_ns() - cpu_ns < 10_000_000


@pytest.mark.parametrize("factor", [0.99, 0, -1, math.nan])
def test_a_board_faster_than_its_host_cannot_be_emulated(factor: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Slowdown(factor)
