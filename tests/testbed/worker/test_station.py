"""What a station does for the power model of an emulated node."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.emulation import EmulatedRadio, EmulatedTempo
from devices.links.load import load_link
from devices.power.emulated import EmulatedPower
from devices.power.ina import InaPower
from devices.radios import RADIOS
from testbed.worker import station
from testbed.worker.station import Station

MODEL = EmulatedPower(rail="R", rate_hz=100, idle_mw=1, cpu_busy_mw=2, radio_mw=320, reference="a book")


def load(**changes: object) -> SimpleNamespace:
    """An edge's order to load, as far as its radio is concerned."""
    order = {"role": "edge", "data_endpoint": "tcp://x:1", "link": load_link("lte"), "power": [MODEL], **changes}
    return SimpleNamespace(profile=SimpleNamespace(power=order.pop("power")), **order)


def test_an_emulated_edge_sends_with_the_radio_of_its_link() -> None:
    assert station._radio(load()) is RADIOS["lte"]  # noqa: SLF001


def test_without_a_link_it_sends_with_its_own() -> None:
    own = station._radio(load(link=None))  # noqa: SLF001
    assert own is not None
    assert (own.active_mw, own.source) == (320, "a book")


@pytest.mark.parametrize(
    "changes", [{"role": "cloud"}, {"data_endpoint": None}, {"power": [InaPower(rate_hz=100)]}, {"power": []}]
)
def test_a_node_that_sends_nothing_or_is_measured_has_no_radio(changes: dict[str, object]) -> None:
    assert station._radio(load(**changes)) is None  # noqa: SLF001


def test_an_idle_baseline_has_nothing_of_the_tail(tmp_path: Path) -> None:
    writer = ActivityWriter(tmp_path / "activity")
    reader = ActivityReader(tmp_path / "activity")
    tempo = EmulatedTempo(writer, Activity.CPU)
    tempo.radio = EmulatedRadio(RADIOS["lte"], writer, lambda: None)
    with tempo.sending():
        assert reader.read().radio.draws_uw == 1_288_040
    tempo.answered()
    assert reader.read().radio.draws_uw == 1_060_000
    drawn_uw = []
    at = SimpleNamespace(
        tempo=tempo,
        phase=lambda name: drawn_uw.append(reader.read().radio.draws_uw),
        cancel=threading.Event(),
    )
    Station.idle(at, 0.0, "idle_after")
    assert drawn_uw == [0]
    reader.close()
    writer.close()
