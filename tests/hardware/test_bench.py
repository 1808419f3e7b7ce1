"""What a bench must be able to do before its numbers go into a paper."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from devices.profile import Settings
from testbed.record.noderecord import BoardFacts
from testbed.record.reader import Cell

# On real boards: models are exported first, and a slow board computes for a while.
pytestmark = pytest.mark.timeout(3600)

MAX_CLOCK_BOUND_NS = 5_000_000
SET_FACTS = ("power_mode", "cpu_governor")


def facts(cell: Cell, role: str) -> Iterator[tuple[BoardFacts, BoardFacts]]:
    """The board at the start and at the end of each repeat, in order."""
    for node in cell.manifest.role(role):
        for number in sorted(node.repeats, key=int):
            yield node.repeats[number].hello.board, node.repeats[number].finished.facts


@pytest.fixture(params=["edge", "cloud"])
def role(request) -> str:
    return request.param


@pytest.fixture(params=["edge_only", "co_inference"])
def mode(request) -> str:
    return request.param


def test_the_nodes_pass_their_check(bench) -> None:
    done = bench.testbed("check", *bench.files.values())
    assert done.code == 0, done.text


def test_a_short_run_is_complete_and_valid(measured) -> None:
    assert measured.ran.code == 0, measured.ran.text
    for cell in measured.cells.values():
        assert cell.status is not None
        assert (cell.status.state, cell.status.valid) == ("complete", True), cell.status.reasons


def test_every_request_is_answered(measured, mode) -> None:
    assert set(measured.cells[mode].requests["outcome"]) == {"ok"}


def test_settings_are_made_for_each_repeat_and_put_back_after_it(bench, measured, mode, role) -> None:
    settings = bench.profile(role).settings
    if settings == Settings():
        pytest.skip(f"the {role}'s profile sets nothing")
    starts, ends = zip(*facts(measured.cells[mode], role), strict=True)
    for key in SET_FACTS:
        assert len({json.dumps(start.others.get(key), sort_keys=True) for start in starts}) == 1, (
            f"{key} was not put back"
        )
    for end in (end.others for end in ends):
        if settings.nvpmodel is not None:
            assert settings.nvpmodel in (end["power_mode"]["id"], end["power_mode"]["name"])
        if settings.cpu_governor is not None:
            assert set(end["cpu_governor"].values()) == {settings.cpu_governor}
        if settings.jetson_clocks:
            assert all(now["min"] == now["max"] for name, now in end["clocks_mhz"].items() if name.startswith("cpu"))
    assert "nothing: no earlier run's settings wait to be put back" in bench.testbed("check", bench.files[role]).text


def test_power_is_plausible(bench, measured, mode) -> None:
    if not bench.profile("edge").power:
        pytest.skip("the edge is not metered")
    cell = measured.cells[mode]
    name = cell.manifest.role("edge")[0].id
    samples = cell.power[(cell.power["node"] == name) & (cell.power["scope"] != "rail")]
    assert len(samples)
    for repeat in sorted(cell.requests["repeat"].unique()):
        phases = {
            event.detail["phase"]: event.t_ns
            for event in cell.events
            if event.event == "phase" and event.repeat == repeat and event.node == name
        }
        for (source, rail), rows in samples.groupby(["source", "rail"]):
            t_ns, mw = rows["t_ns"].to_numpy(), rows["mw"].to_numpy()
            idle = mw[(t_ns >= phases["idle_before"]) & (t_ns < phases["measure"])].mean()
            busy = mw[(t_ns >= phases["measure"]) & (t_ns < phases["idle_after"])].mean()
            assert idle > 0, f"{source} {rail}"
            if mode == "edge_only":
                assert idle < busy, f"{source} {rail}: idle {idle:.0f} mW, computing {busy:.0f} mW"


def test_clocks_are_bound_within_5_ms(measured, mode) -> None:
    bounds_ns = [estimate.bound_ns for estimate in measured.cells[mode].clock]
    assert bounds_ns
    assert max(bounds_ns) < MAX_CLOCK_BOUND_NS


def test_no_board_was_throttled(measured, mode, role) -> None:
    for start, end in facts(measured.cells[mode], role):
        before = start.throttle
        grown = {name: n - before[name] for name, n in end.throttle.items() if n > before.get(name, n)}
        assert not grown
