from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.factors import FACTORS
from analysis.summary import write_summary
from testbed.errors import RecordError
from testbed.record.tables import TABLES

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


@pytest.fixture
def toy(make_cell) -> Path:
    """A baseline, co-inference with an exit, and an invalid cell without."""
    folder = make_cell("edge only", "edge_only", baseline=True, repeats=2).folder.parent
    make_cell("exit", rule=RULE, position=1, repeats=2)
    make_cell("doubtful", position=2, repeats=2, valid=False, reasons=["throttled"])
    return folder


@pytest.mark.parametrize("table", TABLES)
def test_every_row_says_its_cell_the_verdict_and_all_factors(toy: Path, table: str) -> None:
    frames = analysis.load(toy)
    rows = getattr(frames, table)
    factors = [factor.name for factor in FACTORS]
    assert list(rows) == ["cell", "cell_label", "valid", *factors, *TABLES[table].__struct_fields__]
    for one in frames.measured:
        own = rows[rows["cell"] == one.cell.manifest.cell]
        whole = getattr(one.cell, table)  # numbers that some cells have blank are floats in the frame of all
        pd.testing.assert_frame_equal(own[list(whole)].reset_index(drop=True), whole, check_dtype=False)
        assert set(own["cell_label"]) <= {one.label}
        assert set(own["valid"]) <= {one.valid}


def test_an_alpha_groups_requests_without_a_join(toy: Path) -> None:
    rows = analysis.load(str(toy)).requests
    exits = rows.groupby("alpha", dropna=False)["exit_timestep"].mean()
    assert exits[0.8] < exits[float("nan")] == 4


def test_invalid_cells_are_there_and_marked(toy: Path) -> None:
    frames = analysis.load(toy)
    assert frames.cells.set_index("label")["valid"].to_dict() == {"edge only": True, "exit": True, "doubtful": False}
    assert not frames.requests.set_index("cell_label").loc["doubtful", "valid"].any()
    assert frames.cells["reasons"].tolist() == ["", "", "throttled"]


def test_the_summary_is_that_of_the_file_in_its_types(toy: Path, tmp_path: Path) -> None:
    frames = analysis.load(toy)
    written = pd.read_csv(write_summary(tmp_path, frames.measured))
    assert list(frames.summary) == list(written)
    numbers = frames.summary.select_dtypes("number").astype(float)
    pd.testing.assert_frame_equal(numbers, written[list(numbers)].astype(float), rtol=1e-9)
    assert frames.summary["repeats"].tolist() == [2, 2, 2]


def test_what_differs_between_cells_is_told(toy: Path) -> None:
    varying = analysis.load(toy).varying
    assert {"mode", "codec", "alpha", "position"} <= set(varying)
    assert not {"backbone", "dataset", "repeats"} & set(varying)


def test_a_query_of_what_lies_on_disk_gives_the_frames_numbers(toy: Path) -> None:
    frames = analysis.load(toy)
    query = "select cell, avg(latency_ms) as mean, count(*) as n from requests join summary using (cell) where valid"
    found = frames.sql(f"{query} group by cell order by cell").set_index("cell")
    valid = frames.requests[frames.requests["valid"]]
    expected = valid.groupby("cell", observed=True)["latency_ms"].agg(["mean", "count"])
    assert found["mean"].to_dict() == pytest.approx(expected["mean"].to_dict(), rel=1e-12)
    assert found["n"].to_dict() == expected["count"].to_dict()


def test_a_table_that_is_torn_is_a_warning_and_its_cell_is_marked(toy: Path) -> None:
    path = toy / "exit" / "power.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="power.parquet: damaged"):
        frames = analysis.load(toy)
    assert [line.split(":")[0] for line in frames.damage] == [str(path)]
    assert "exit" not in set(frames.power["cell"])
    assert not frames.requests.set_index("cell").loc["exit", "valid"].any()


def test_results_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such results"):
        analysis.load(tmp_path / "none")


def test_importing_analysis_costs_nothing() -> None:
    script = "import sys, analysis; print([name for name in ('numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
