from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from analysis.energy import energy as energy_of
from analysis.energy import meter
from analysis.stats import over_repeats
from devices.base.power import PowerRow, Rail
from devices.base.rowlog import RowLog
from testbed.errors import RecordError
from testbed.record.log import read_rows, write_json
from testbed.record.reader import read_cell
from testbed.record.schema import ClockRecord
from testbed.record.tables import write_table
from tests.made import records


def energy(cell, role="edge"):
    return energy_of(cell, cell.manifest.role(role)[0])


def test_gross_and_net_energy_per_request_match_the_power(make_cell) -> None:
    found = energy(make_cell("steady", latency_ms=20, busy_mw=6000))
    mean_s = np.mean([20 + i % 3 for i in range(40)]) / 1e3
    assert found.gross.mean == pytest.approx(6000 * mean_s)
    assert found.net.mean == pytest.approx(1000 * mean_s)
    assert found.gross.half == pytest.approx(0, abs=1e-9)
    assert found.idle_mw == pytest.approx(5000)
    assert found.source == "emulated"


def test_a_sensors_limits_in_the_manifest_widen_the_interval(make_cell) -> None:
    plain = energy(make_cell("plain", emulated=False)).gross
    known = energy(make_cell("known", emulated=False, limits={"gain": 0.01, "offset_mw": 60.0, "lsb_mw": 41.0})).gross
    assert plain.half == pytest.approx(0, abs=1e-9)
    assert known.mean == plain.mean
    assert known.standard["gain"] == pytest.approx(0.01 * known.mean / 3**0.5)
    assert known.standard["offset"] == pytest.approx(0.01 * known.mean / 3**0.5)  # 60 of 6000 mW
    assert known.standard["lsb"] == pytest.approx(41 / 6000 * known.mean / 12**0.5)


def test_a_sensors_averaging_time_makes_a_short_window_an_error(make_cell) -> None:
    with pytest.raises(RecordError, match=r"3\.0 independent readings in a window of 0\.84 s .* 422 ms; limit 20"):
        energy(make_cell("slow sensor", emulated=False, averaging_ms=422.0))


def with_power(cell, *power):
    """The cell, whose edge's worker said something else of its sensors."""
    edge = cell.manifest.nodes["board"]
    said = {repeat: records.node_repeat(power) for repeat in edge.repeats}
    nodes = {**cell.manifest.nodes, "board": structs.replace(edge, repeats=said)}
    return replace(cell, manifest=structs.replace(cell.manifest, nodes=nodes))


def test_a_measured_cell_whose_manifest_says_nothing_of_its_sensor_has_no_energy(make_cell) -> None:
    cell = with_power(make_cell("old", emulated=False))
    with pytest.raises(RecordError, match=r"board: the manifest does not say how well ina measures; measure again"):
        energy(cell)


def test_a_model_of_power_has_no_sensors_errors_whatever_it_said_of_itself(make_cell) -> None:
    cell = make_cell("modelled", limits={"gain": 0.5, "offset_mw": 100.0})
    assert energy(cell).gross.standard["gain"] == 0
    assert energy(with_power(cell)).gross.standard["gain"] == 0


def test_interval_is_students_over_repeats() -> None:
    found = over_repeats([9.0, 10.0, 11.0])
    assert found.mean == 10
    assert found.half == pytest.approx(4.302653 / 3**0.5)
    assert over_repeats([9.0]).half is None


def test_a_node_without_a_power_source_has_no_energy(make_cell) -> None:
    assert energy(make_cell("bare", metered=False)) is None


def test_a_listed_source_that_recorded_nothing_is_an_error(make_cell) -> None:
    cell = make_cell("silent")
    write_table(cell.folder / "power.parquet", PowerRow, [])
    with pytest.raises(RecordError, match="recorded nothing"):
        meter(read_cell(cell.folder), cell.manifest.role("edge")[0])


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
    more = _with_more_power(cell, rail="VDD_SOC")
    with pytest.raises(RecordError, match="does not say how well ina measures VDD_SOC"):
        energy(more)
    rails = [Rail(name=name, scope="module") for name in ("VDD_IN", "VDD_SOC")]
    more = with_power(more, records.capability("ina", *rails))
    assert energy(more).gross.mean == pytest.approx(2 * once)


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
    write_json(cell.folder / "clock.json", ClockRecord(estimates=[], lines=[]))
    with pytest.raises(RecordError, match="no clock offset"):
        energy(read_cell(cell.folder), "cloud")
