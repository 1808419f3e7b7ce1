"""A source that fails in a way that nobody foresaw is one line that names it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.base.errors import DeviceError
from devices.power import sampled
from devices.power.emulated import EmulatedPower
from devices.power.sampled import SampledSource

SPEC = EmulatedPower(rail="VDD_IN", rate_hz=10, idle_mw=1, cpu_busy_mw=2, radio_mw=0, reference="made up for a test")


def test_a_probe_that_fails_any_other_way_is_that_sources_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    def probe() -> None:
        raise ZeroDivisionError("a library divided by the number of rails")

    source = SimpleNamespace(probe=probe, close=lambda: closed.append(True))
    monkeypatch.setattr(sampled, "open_source", lambda spec, surroundings: source)
    with pytest.raises(DeviceError, match=r"^emulated: cannot be probed: ZeroDivisionError: a library divided"):
        SampledSource(SPEC, "board", SimpleNamespace(activity=tmp_path))  # type: ignore[arg-type]
    assert closed == [True]
