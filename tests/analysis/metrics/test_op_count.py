from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from analysis.markup import markdown
from analysis.metrics import op_count
from analysis.metrics.registry import measure
from analysis.publish import publish
from analysis.summary import write_summary
from analysis.tables import table, write_tables
from testbed.errors import RecordError
from testbed.runtime.artefact import OpCost, OpCounts
from tests.analysis.measuring import value
from tests.made import records

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


def counts(*, edge: float = 1e6, full: float = 8e6, timesteps: int = 4) -> OpCounts:
    """Counts whose energies at exit t are t times a number of pJ, and as much again ten times for memory."""

    def part(pj: float) -> OpCost:
        compute = [pj * t for t in range(1, timesteps + 1)]
        return records.op_cost(compute, [10 * each for each in compute])

    return records.op_counts(edge=part(edge), cloud=part(77e6), full=part(full))


def test_each_mode_costs_the_edge_what_it_runs_there(make_cell) -> None:
    energies = {
        mode: value(op_count.METRIC, make_cell(mode, mode, op_counts=counts()))
        for mode in ("edge_only", "co_inference", "cloud_only")
    }
    # 4 timesteps of 1e6 pJ are 4 µJ are 0.004 mJ.
    assert energies["co_inference"].compute_mj == pytest.approx(0.004)
    assert energies["edge_only"].compute_mj == pytest.approx(0.032)
    assert energies["cloud_only"].compute_mj == energies["cloud_only"].memory_mj == 0.0
    assert energies["co_inference"].memory_mj == pytest.approx(0.04)


def test_an_early_exit_costs_what_was_run_until_then(make_cell) -> None:
    cell = make_cell("exits", rule=RULE, op_counts=counts())
    exits = cell.requests["exit_timestep"].to_numpy()
    assert len(np.unique(exits)) > 1
    assert value(op_count.METRIC, cell).compute_mj == pytest.approx(1e-3 * exits.mean())


def test_requests_without_an_answer_do_not_count(make_cell) -> None:
    cell = make_cell("lossy", op_counts=counts(), outcomes=dict.fromkeys(range(39), "timeout"))
    assert value(op_count.METRIC, cell).compute_mj == pytest.approx(0.004)


def test_a_model_without_counts_leaves_everything_blank(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("old", "edge_only"), make_cell("old cloud", "cloud_only")]
    with write_summary(tmp_path, measure(cells)).open() as file:
        assert [row["energy_op_count_mj"] for row in csv.DictReader(file)] == ["", ""]
    assert not any("op count" in header for header in table(measure(cells))[0])


def test_counts_that_do_not_fit_the_requests_are_that_cells_problem(make_cell) -> None:
    short = make_cell("short", op_counts=counts(timesteps=2))
    with pytest.raises(RecordError, match="op_counts do not fit"):
        value(op_count.METRIC, short)
    first, second = measure([short, make_cell("fine", op_counts=counts())])
    assert first.valid is False
    assert second.valid is True


def test_op_counts_stand_apart_from_measured_and_emulated_energy(make_cell, tmp_path: Path) -> None:
    cells = [
        make_cell("base", "edge_only", op_counts=counts(), baseline=True),
        make_cell("sensor", emulated=False, op_counts=counts()),
    ]
    with write_summary(tmp_path, measure(cells)).open() as file:
        base, sensor = csv.DictReader(file)
    assert (base["energy_op_count_mj"], sensor["energy_op_count_mj"]) == ("0.032", "0.004")
    headers, rows = table(measure(cells))
    column = headers.index("op count [µJ]")
    assert [row[column] for row in rows] == ["32.0", "4.00"]
    assert "mean energy (measured) [mJ]" in headers
    assert "mean energy (emulated) [mJ]" in headers
    assert "op count [µJ]" in markdown(headers, rows)
    assert r"op count [$\mu$J]" in write_tables(tmp_path, measure(cells))[1].read_text()
    html = publish(tmp_path, cells).report.read_text()
    assert "4.00 µJ of arithmetic; memory apart: 40.0 µJ (64 samples counted; counted by hand)" in html
    assert "Counted, not measured" in html
