"""One view of power: which source speaks for a node, when its requests ran, when it rested."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from devices.base.power import Rail
from testbed.errors import RecordError
from testbed.record.power import Phase, recorded, repeats, source_names, window
from testbed.record.schema import ClockLine, EventRow
from tests.made import records

SECOND = 1_000_000_000


def line(node, offset_ns, bound_ns=0, skew_ppm=0.0, repeat=0):
    return ClockLine(
        node=node, repeat=repeat, t_ns=0, offset_ns=offset_ns, bound_ns=bound_ns, skew_ppm=skew_ppm,
        skew_bound_ppm=0.0, straight=True,
    )  # fmt: skip


def requests(node, start_s, end_s, repeat=0, count=10):
    """So many requests one after the other from start to end, on their edge's clock."""
    edges_ns = np.linspace(start_s * SECOND, end_s * SECOND, count + 1).astype(np.int64)
    rows = {"node": node, "repeat": repeat, "t_start_ns": edges_ns[:-1], "t_end_ns": edges_ns[1:]}
    return pd.DataFrame(rows)


def samples(node, source, rail, scope, seconds, mw):
    t_ns = (np.asarray(seconds) * SECOND).astype(np.int64)
    return pd.DataFrame({"node": node, "source": source, "rail": rail, "scope": scope, "t_ns": t_ns, "mw": mw})


def phase_marks(node, **seconds):
    return [
        EventRow(node=node, t_ns=round(at * SECOND), repeat=0, event="phase", detail={"phase": name})
        for name, at in seconds.items()
    ]


def cell(nodes, **parts):
    given = {"requests": requests("board", 10, 20), "power": pd.DataFrame(), "events": [], "clock_lines": [], **parts}
    return SimpleNamespace(folder="toy", manifest=records.manifest(nodes), **given)


BOARD = records.node(records.profile("board", power=[records.INA_POWER, records.METER_POWER]))
SERVER = records.node(records.profile("server", "host"), "cloud")


def test_an_edges_window_is_that_of_its_requests_with_the_rests_around_it() -> None:
    marks = phase_marks("board", warmup=1, idle_before=5, measure=9, idle_after=21, end=25)
    found = window(cell([BOARD, SERVER], events=marks), BOARD, 0)
    assert (found.start_ns, found.end_ns, found.requests, found.bound_ns) == (10 * SECOND, 20 * SECOND, 10, 0)
    assert found.idle == (
        Phase("idle_before", 5 * SECOND, 9 * SECOND),
        Phase("idle_after", 21 * SECOND, 25 * SECOND),
    )


def test_a_rest_on_one_side_only_is_an_error_and_none_at_all_is_none() -> None:
    one_sided = cell([BOARD], events=phase_marks("board", idle_before=5, measure=9, end=21))
    with pytest.raises(RecordError, match=r"board: repeat 0 has idle_before but not the other idle baseline"):
        window(one_sided, BOARD, 0)
    assert window(cell([BOARD]), BOARD, 0).idle == ()


def test_the_clouds_window_is_the_edges_on_its_own_clock_as_sure_as_both_clocks_are() -> None:
    lines = [line("board", 2 * SECOND, bound_ns=1000), line("server", 7 * SECOND, bound_ns=500, skew_ppm=10.0)]
    found = window(cell([BOARD, SERVER], clock_lines=lines), SERVER, 0)
    assert (found.start_ns, found.end_ns, found.requests) == (15 * SECOND, 25 * SECOND, 10)
    assert found.bound_ns == pytest.approx(1500 + 10e-6 * 5 * SECOND)  # half a window from where the offset is known
    assert found.idle == ()


def test_the_clouds_window_holds_the_requests_of_all_edges() -> None:
    other = records.node(records.profile("other"))
    rows = pd.concat([requests("board", 10, 20), requests("other", 112, 123, count=5)])
    lines = [line("board", 0), line("other", 100 * SECOND, bound_ns=300), line("server", 0)]
    both = cell([BOARD, other, SERVER], requests=rows, clock_lines=lines)
    found = window(both, SERVER, 0)
    assert (found.start_ns, found.end_ns, found.requests, found.bound_ns) == (10 * SECOND, 23 * SECOND, 15, 300)
    alone = window(both, other, 0)
    assert (alone.start_ns, alone.end_ns, alone.requests) == (112 * SECOND, 123 * SECOND, 5)


def test_without_a_clock_offset_or_requests_there_is_no_window() -> None:
    with pytest.raises(RecordError, match="server: no clock offset in repeat 0"):
        window(cell([BOARD, SERVER], clock_lines=[line("board", 0)]), SERVER, 0)
    with pytest.raises(RecordError, match="holds no requests of board in repeat 3"):
        window(cell([BOARD, SERVER]), BOARD, 3)


def test_a_source_is_its_rails_of_the_widest_scope_and_no_other_sources() -> None:
    rails = [Rail(name="VDD_IN", scope="module", gain=0.01), Rail(name="VDD_CPU", scope="rail")]
    said = records.capability("ina", *rails, averaging_ms=500.0)
    board = records.node(BOARD.profile, power=[said])
    power = pd.concat(
        [
            samples("board", "ina", "VDD_IN", "module", [2, 0, 1], [5002.0, 5000.0, 5001.0]),
            samples("board", "ina", "VDD_CPU", "rail", [0, 1, 2], 1000.0),
            samples("board", "scpi", "INPUT", "board", [0, 1, 2], 9000.0),
            samples("server", "ina", "VDD_IN", "module", [0, 1, 2], 90_000.0),
        ]
    )
    metered = cell([board], power=power)
    assert source_names(board) == ["ina", "scpi"]
    found = recorded(metered, board, "ina")
    assert (found.scope, list(found.rails), found.period_ms) == ("module", ["VDD_IN"], 10)
    assert found.rails["VDD_IN"].mw.tolist() == [5000.0, 5001.0, 5002.0]  # in time
    assert found.sensor.limits("VDD_IN").gain == 0.01
    assert recorded(cell([board], power=power.iloc[:0]), board, "ina") is None


def test_what_the_sensor_still_averages_is_not_rest_and_readings_are_no_more_than_averaging_times() -> None:
    board = records.node(
        BOARD.profile, power=[records.capability("ina", Rail(name="VDD_IN", scope="module"), averaging_ms=500.0)]
    )
    power = samples("board", "ina", "VDD_IN", "module", np.arange(0, 30, 0.1), 5000.0)
    metered = cell([board], power=power)
    source = recorded(metered, board, "ina")
    rest = source.settled("VDD_IN", Phase("idle_before", 5 * SECOND, 9 * SECOND))
    assert (rest.t_ns[0], rest.t_ns[-1]) == (5.5 * SECOND, 8.5 * SECOND)
    around = window(metered, board, 0)
    assert len(around.inside(source.rails["VDD_IN"]).t_ns) == 101
    assert around.readings(source, "VDD_IN") == 21  # 10 s hold 20 averaging times


def test_repeats_are_those_of_which_there_are_requests() -> None:
    rows = pd.concat([requests("board", 30, 40, repeat=2), requests("board", 10, 20, repeat=0)])
    assert repeats(cell([BOARD], requests=rows)) == [0, 2]
