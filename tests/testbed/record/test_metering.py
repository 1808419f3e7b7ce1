"""How long a power source has to be listened to."""

from __future__ import annotations

import pytest

from testbed.record.metering import MIN_READINGS, Sensor, rest_s, window_s

SOURCES = [
    (averaging_ms, rate_hz) for averaging_ms in (0.0, 6.6, 422.0, 1000.0, None) for rate_hz in (1.0, 10.0, 100.0)
]


@pytest.mark.parametrize(("averaging_ms", "rate_hz"), SOURCES)
def test_a_window_holds_enough_readings_and_is_not_much_longer_than_that_takes(averaging_ms, rate_hz) -> None:
    sensor = Sensor("sensor", {}, averaging_ms)

    def readings(seconds: float) -> float:
        return sensor.readings(int(seconds * rate_hz), seconds)

    assert readings(window_s(averaging_ms, rate_hz)) >= MIN_READINGS
    assert readings(0.8 * window_s(averaging_ms, rate_hz)) < MIN_READINGS


@pytest.mark.parametrize(("averaging_ms", "rate_hz"), SOURCES)
def test_a_rest_leaves_something_where_an_averaging_time_at_either_end_does_not_count(averaging_ms, rate_hz) -> None:
    averaging_s = Sensor("sensor", {}, averaging_ms).averaging_s
    assert rest_s(averaging_ms, rate_hz) - 2 * averaging_s >= max(averaging_s, 1 / rate_hz) - 1e-9
