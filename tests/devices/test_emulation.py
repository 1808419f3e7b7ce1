from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.emulation import Slowdown, Tempo


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


def test_a_span_of_computing_lasts_as_long_as_the_board_takes() -> None:
    before_ns = time.monotonic_ns()
    with Tempo(Slowdown(3.0)).computing() as span:
        time.sleep(0.002)
    assert before_ns <= span.start_ns < span.end_ns <= time.monotonic_ns()
    assert span.ns == span.end_ns - span.start_ns >= 6_000_000


def test_a_span_of_waiting_is_not_stretched() -> None:
    with Tempo(Slowdown(1000.0)).waiting() as span:
        time.sleep(0.001)
    assert 1_000_000 <= span.ns < 1_000_000_000


def test_a_span_that_fails_ends_at_once_and_hands_the_error_on() -> None:
    span = Tempo(Slowdown(1000.0)).computing()

    def fail() -> None:
        with span:
            time.sleep(0.001)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert 1_000_000 <= span.ns < 1_000_000_000


def test_the_power_model_hears_of_each_span_and_of_the_rest_between_them(tmp_path: Path) -> None:
    writer = ActivityWriter(tmp_path / "activity")
    reader = ActivityReader(tmp_path / "activity")
    tempo = Tempo(Slowdown(1.0), writer)
    with tempo.computing():
        assert reader.read().activity is Activity.COMPUTE
    with tempo.waiting():
        assert reader.read().activity is Activity.RADIO
    tempo.rest()
    assert reader.read().activity is Activity.IDLE
    reader.close()
    writer.close()
