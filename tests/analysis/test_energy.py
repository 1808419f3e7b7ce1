from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.energy import energy, integrate, meter
from analysis.stats import over_repeats
from testbed.errors import RecordError
from testbed.record.log import RowLog, read_rows
from testbed.record.reader import read_cell
from testbed.record.schema import PowerRow
from testbed.record.tables import write_table

SECOND = 1_000_000_000
LONG_AFTER_BOOT = 400 * 24 * 3600 * SECOND


def test_energy_of_a_ramp_is_exact() -> None:
    t = LONG_AFTER_BOOT + np.arange(0, 11) * SECOND
    mw = 100.0 * np.arange(0, 11)
    # From 2.5 s to 7.25 s: 50 (7.25² − 2.5²).
    found = integrate(t, mw, LONG_AFTER_BOOT + 2_500_000_000, LONG_AFTER_BOOT + 7_250_000_000)
    assert found == pytest.approx(50 * (7.25**2 - 2.5**2), rel=1e-12)


def test_a_window_between_two_samples_is_interpolated() -> None:
    assert integrate([0, 10 * SECOND], [0.0, 1000.0], 4 * SECOND, 6 * SECOND) == pytest.approx(1000.0)


@given(st.lists(st.floats(0, 1e5), min_size=3, max_size=30), st.data())
def test_energies_of_adjacent_windows_add_up(mw: list[float], data: st.DataObject) -> None:
    t = np.arange(len(mw)) * SECOND
    middle = data.draw(st.integers(1, int(t[-1]) - 1))
    whole = integrate(t, mw, 0, int(t[-1]))
    assert integrate(t, mw, 0, middle) + integrate(t, mw, middle, int(t[-1])) == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (1, 11)])
def test_a_gap_at_the_windows_edge_is_an_error(start: int, end: int) -> None:
    with pytest.raises(RecordError, match="do not cover"):
        integrate([0, 10], [1.0, 1.0], start, end)


def test_one_sample_is_an_error() -> None:
    with pytest.raises(RecordError, match="at least two"):
        integrate([0], [1.0], 0, 1)


def test_a_sample_that_is_no_number_is_an_error() -> None:
    with pytest.raises(RecordError, match="not numbers"):
        integrate([0, 1, 2], [1.0, float("nan"), 1.0], 0, 2)


def test_gross_and_net_energy_per_request_match_the_power(make_cell) -> None:
    found = energy(make_cell("steady", latency_ms=20, busy_mw=6000))
    mean_s = np.mean([20 + i % 3 for i in range(40)]) / 1e3
    assert found.gross.mean == pytest.approx(6000 * mean_s)
    assert found.net.mean == pytest.approx(1000 * mean_s)
    assert found.gross.half == pytest.approx(0, abs=1e-9)
    assert found.idle_mw == pytest.approx(5000)
    assert found.source == "emulated"


def test_interval_is_students_over_repeats() -> None:
    found = over_repeats([9.0, 10.0, 11.0])
    assert found.mean == 10
    assert found.half == pytest.approx(4.303 / 3**0.5)
    assert over_repeats([9.0]).half is None


def test_a_node_without_a_power_source_has_no_energy(make_cell) -> None:
    assert energy(make_cell("bare", metered=False)) is None


def test_a_listed_source_that_recorded_nothing_is_an_error(make_cell) -> None:
    cell = make_cell("silent")
    write_table(cell.folder / "power.parquet", PowerRow, [])
    with pytest.raises(RecordError, match="recorded nothing"):
        meter(read_cell(cell.folder))


def _with_more_power(cell, **changed):
    """The cell with every power sample repeated under another name."""
    parts = cell.folder / "parts"
    rows = list(read_rows(parts / "power.jsonl", PowerRow))
    with RowLog(parts / "more.jsonl") as log:
        for row in rows:
            values = {name: getattr(row, name) for name in PowerRow.__struct_fields__}
            log.append(PowerRow(**{**values, **changed}))
    write_table(cell.folder / "power.parquet", PowerRow, [parts / "power.jsonl", parts / "more.jsonl"])
    return read_cell(cell.folder)


def test_rails_of_a_source_add_up(make_cell) -> None:
    cell = make_cell("two rails", emulated=False)
    once = energy(cell).gross.mean
    assert energy(_with_more_power(cell, rail="VDD_SOC")).gross.mean == pytest.approx(2 * once)


@pytest.mark.parametrize("changed", [{"source": "ina260"}, {"rail": "VDD_CPU", "scope": "rail"}])
def test_neither_another_source_nor_a_part_of_a_sum_is_added(make_cell, changed) -> None:
    cell = make_cell("two meters", emulated=False)
    once = energy(cell).gross.mean
    assert energy(_with_more_power(cell, **changed)).gross.mean == pytest.approx(once)


def test_a_baseline_on_one_side_only_is_an_error(make_cell) -> None:
    cell = make_cell("one-sided")
    path = cell.folder / "events.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "idle_before" not in line))
    with pytest.raises(RecordError, match="not the other idle baseline"):
        energy(cell)


def test_the_clouds_window_is_the_edges_on_the_clouds_clock(make_cell) -> None:
    cell = make_cell("metered cloud", latency_ms=20, cloud_mw=90_000)
    mean_s = np.mean([20 + i % 3 for i in range(40)]) / 1e3
    found = energy(cell, "cloud")
    assert found.gross.mean == pytest.approx(90_000 * mean_s)
    assert (found.source, found.net) == ("measured", None)


def test_a_cloud_without_clock_offsets_has_no_energy_to_give(make_cell) -> None:
    cell = make_cell("no clock", cloud_mw=90_000)
    (cell.folder / "clock.json").unlink()
    with pytest.raises(RecordError, match="no clock offset"):
        energy(read_cell(cell.folder), "cloud")
