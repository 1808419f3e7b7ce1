from __future__ import annotations

from types import SimpleNamespace

from msgspec.structs import replace

from analysis.report.nodes import nodes
from devices.base.power import Rail
from devices.schedule import Timekeeping
from testbed.record.noderecord import BoardFacts, Cooling, NodeRepeat
from tests.made import records


def lines_of(repeats: list[NodeRepeat], part: str) -> dict[str, list[str]]:
    board = records.node(records.profile("board", "jetson", [records.INA_POWER]))
    board = replace(board, repeats={str(number): said for number, said in enumerate(repeats)})
    (found,) = nodes([SimpleNamespace(manifest=records.manifest([board], mode="edge_only"))])
    return dict(getattr(found, part))


def a_host(stages: int, late: int) -> Timekeeping:
    return Timekeeping(
        stages=stages, overruns=late, worst_overrun_ms=0, modelled_ms=0, woken_late_ms=0, worst_woken_late_ms=0
    )


def test_the_state_of_a_board_spans_all_repeats() -> None:
    warm = [records.node_repeat(before=BoardFacts(temperature_c={"cpu": 40 + n}, throttle={"cpu": 2 * n}),
                                after=BoardFacts(temperature_c={"cpu": 50 + n}, throttle={"cpu": 2 * n + 1}))
            for n in range(3)]  # fmt: skip
    assert lines_of(warm, "state") | {"not found on it": []} == {
        "temperature": ["cpu: 40 to 42 °C before a repeat, 50 to 52 °C after it"],
        "throttling": ["seen: cpu 3"],
        "not found on it": [],
    }


def test_a_board_that_did_not_cool_down_is_said() -> None:
    gave_up = Cooling(waited_s=60.0, temperature_c={"cpu": 50.0}, as_warm_as={"cpu": 40.0}, gave_up=True)
    cooled = Cooling(waited_s=12.0, temperature_c={"cpu": 41.0}, as_warm_as={"cpu": 40.0})
    said = [replace(records.node_repeat(), cooling=each) for each in (cooled, gave_up)]
    assert lines_of(said, "state")["cooling down"] == [
        "waited at most 60.0 s before a repeat; gave up before 1 of 2 repeats"
    ]


def test_the_host_of_an_emulated_node_is_one_line_over_all_repeats() -> None:
    said = [
        replace(
            repeat, finished=replace(repeat.finished, timekeeping=kept, computed_ahead=ahead, computed_before=before)
        )
        for repeat, kept, ahead, before in zip(
            [records.node_repeat()] * 3,
            [a_host(0, 0), a_host(300, 0), a_host(200, 3)],
            [None, 300, 200],
            [None, 0, 200],
            strict=True,
        )
    ]
    lines = lines_of(said, "what")
    assert lines["host"] == ["3 of 500 stages later than modelled in 3 repeats of all cells; 1.50% in the worst repeat"]
    assert lines["computed ahead"] == ["at most 300 samples of a repeat, 200 of all 500 by earlier repeats"]


def test_a_sensor_says_how_well_it_is_known() -> None:
    rail = Rail(name="VDD_IN", scope="module", gain=0.01, offset_mw=20, lsb_mw=8)
    lines = lines_of([records.node_repeat([records.capability("ina", rail, averaging_ms=2.5)])] * 3, "power")
    assert lines["source of power"] == ["ina (a sensor): VDD_IN (module) at 100 Hz, each averaged over 2.5 ms"]
    assert lines["how well a reading is known"] == ["VDD_IN: gain ± 1%, offset ± 20 mW, rounded to 8 mW"]
