"""How long a repeat rests and measures, by the sensors of its nodes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from devices.base.power import Capability
from devices.profile import load_profile
from testbed.link.messages import Loaded
from testbed.orchestrator.attempt import shortest_s
from testbed.orchestrator.participants import participants, taking_part
from testbed.record import noderecord
from tests.made import records

ROOT = Path(__file__).parents[3]


def loaded(*power: Capability) -> Loaded:
    return Loaded(data_endpoint=None, detail=noderecord.Loaded(power=list(power)))


def shortest(mode: str, *, edge_ms: float | None, cloud_ms: float | None) -> tuple[float, float]:
    """An edge read at 100 Hz and a GPU read at 10 Hz whose sensors average for so long; 0.5 s of rest are asked for."""
    board = load_profile(ROOT / "devices" / "jetson-orin-nano.yaml")
    server = load_profile(ROOT / "devices" / "nvidia-gpu.yaml")
    assert [spec.rate_hz for profile in (board, server) for spec in profile.power] == [100, 10]
    nodes = participants([("edge", board), ("cloud", server)])
    said = {
        node.id: loaded(records.capability("a", averaging_ms=ms))
        for node, ms in zip(nodes, (edge_ms, cloud_ms), strict=True)
    }
    return shortest_s(SimpleNamespace(idle_s=0.5, participants=taking_part(nodes, mode)), said)


def test_the_slowest_sensor_decides() -> None:
    assert shortest("co_inference", edge_ms=6.6, cloud_ms=1000.0) == pytest.approx((0.5, 22.0))
    assert shortest("co_inference", edge_ms=6.6, cloud_ms=0.0) == pytest.approx((0.5, 2.2))
    assert shortest("co_inference", edge_ms=None, cloud_ms=0.0) == pytest.approx((3.0, 22.0))


def test_a_cloud_that_takes_no_part_is_not_waited_for() -> None:
    assert shortest("edge_only", edge_ms=6.6, cloud_ms=1000.0) == pytest.approx((0.5, 0.22))


def test_nodes_that_are_not_metered_need_nothing() -> None:
    host = load_profile(ROOT / "devices" / "host.yaml")
    nodes = participants([("edge", msgspec.structs.replace(host, name="edge")), ("cloud", host)])
    attempt = SimpleNamespace(idle_s=0.5, participants=nodes)
    assert shortest_s(attempt, {node.id: loaded() for node in nodes}) == (0.5, 0.0)
