"""A board waits until it is as warm as before its first repeat, or gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.machine import Machine
from testbed.link.messages import CoolDown
from testbed.worker import cooling
from testbed.worker.cooling import cool_down


class Cancel(threading.Event):
    """An event whose waits take no time: each lets something happen to the board instead."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.waits = 0
        self._happens = happens

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self._happens()
        return self.is_set()


class Station(SimpleNamespace):
    """As much of a station as cooling down takes: a board with one thermal zone."""

    def __init__(self, root: Path, cancel: Cancel) -> None:
        self.events: list[dict] = []
        super().__init__(machine=Machine(root), cancel=cancel)

    def event(self, name: str, **detail) -> None:
        self.events.append({"event": name, **detail})


@pytest.fixture
def heat(tmp_path: Path):
    zone = tmp_path / "sys" / "class" / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")

    def heat(celsius: float) -> None:
        (zone / "temp").write_text(f"{round(1000 * celsius)}\n")

    heat(40.0)
    return heat


def order(first: float | None, at_most_s: float = 100.0) -> CoolDown:
    return CoolDown(as_warm_as={} if first is None else {"cpu-thermal": first}, within_c=2.0, at_most_s=at_most_s)


def test_before_the_first_repeat_nothing_is_waited_for_and_the_temperature_is_told(heat, tmp_path) -> None:
    station = Station(tmp_path, Cancel())
    found = cool_down(station, order(None))
    assert (found.temperature_c, found.gave_up, station.cancel.waits) == ({"cpu-thermal": 40.0}, False, 0)


def test_a_warmer_board_is_waited_for_until_it_is_within_what_was_asked(heat, tmp_path) -> None:
    falling = iter([47.0, 44.0, 42.0, 39.0])
    heat(50.0)
    station = Station(tmp_path, Cancel(lambda: heat(next(falling))))
    found = cool_down(station, order(40.0))
    assert (found.temperature_c, found.gave_up, station.cancel.waits) == ({"cpu-thermal": 42.0}, False, 3)
    assert station.events[0]["event"] == "cooldown"
    assert station.events[0]["gave_up"] is False


def test_a_board_that_stays_warm_is_given_up_and_that_is_on_record(heat, tmp_path, monkeypatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(cooling, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    heat(50.0)
    station = Station(tmp_path, Cancel())
    found = cool_down(station, order(40.0, at_most_s=45.0))
    assert found.gave_up
    assert found.waited_s >= 45
    assert station.events[0]["gave_up"] is True


def test_an_interrupt_ends_the_wait(heat, tmp_path) -> None:
    heat(50.0)
    cancel = Cancel(lambda: cancel.set())
    cool_down(Station(tmp_path, cancel), order(40.0))
    assert cancel.waits == 1


def test_a_board_without_temperature_is_not_waited_for(tmp_path) -> None:
    station = Station(tmp_path, Cancel())
    found = cool_down(station, order(40.0))
    assert (found.temperature_c, found.gave_up, station.cancel.waits) == ({}, False, 0)
