"""How long a repeat rests and measures, by the sensors of its nodes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from devices.base.power import Capability
from devices.profile import load_profile
from testbed.link.messages import Loaded
from testbed.orchestrator import _needed
from testbed.record import documents
from tests.made import records

ROOT = Path(__file__).parents[2]


def loaded(*power: Capability) -> Loaded:
    return Loaded(data_endpoint=None, detail=documents.Loaded(power=list(power)))


def needed(mode: str, *, edge_ms: float | None, cloud_ms: float | None) -> tuple[float, float]:
    """An edge read at 100 Hz and a GPU read at 10 Hz whose sensors average for so long; 0.5 s of rest are asked for."""
    profiles = {
        "edge": load_profile(ROOT / "devices" / "jetson-orin-nano.yaml"),
        "cloud": load_profile(ROOT / "devices" / "nvidia-gpu.yaml"),
    }
    said = {
        role: loaded(records.capability("a", averaging_ms=ms)) for role, ms in (("edge", edge_ms), ("cloud", cloud_ms))
    }
    assert [spec.rate_hz for role in profiles for spec in profiles[role].power] == [100, 10]
    return _needed(SimpleNamespace(idle_s=0.5, profiles=profiles, config=SimpleNamespace(mode=mode)), said)


def test_the_slowest_sensor_decides() -> None:
    assert needed("co_inference", edge_ms=6.6, cloud_ms=1000.0) == pytest.approx((0.5, 22.0))
    assert needed("co_inference", edge_ms=6.6, cloud_ms=0.0) == pytest.approx((0.5, 2.2))
    assert needed("co_inference", edge_ms=None, cloud_ms=0.0) == pytest.approx((3.0, 22.0))


def test_a_cloud_that_takes_no_part_is_not_waited_for() -> None:
    assert needed("edge_only", edge_ms=6.6, cloud_ms=1000.0) == pytest.approx((0.5, 0.22))


def test_nodes_that_are_not_metered_need_nothing() -> None:
    host = load_profile(ROOT / "devices" / "host.yaml")
    bare = msgspec.structs.replace(host, name="edge")
    attempt = SimpleNamespace(
        idle_s=0.5, profiles={"edge": bare, "cloud": host}, config=SimpleNamespace(mode="co_inference")
    )
    silent = loaded()
    assert _needed(attempt, {"edge": silent, "cloud": silent}) == (0.5, 0.0)
