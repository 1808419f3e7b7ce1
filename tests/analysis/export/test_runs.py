from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest

from analysis.export.runs import log_runs
from analysis.metrics.registry import measure
from analysis.summary import write_summary
from testbed.errors import RecordError
from testbed.record.reader import read_campaign


def test_each_cell_is_a_run_with_its_factors_and_its_numbers_with_intervals(make_cell, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    folder: Path = make_cell("edge only", "edge_only", baseline=True).folder.parent
    make_cell("co-inference", position=1, valid=False, reasons=["throttled"])
    measured = measure(read_campaign(folder, pytest.fail))
    write_summary(folder, measured)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow imports
        runs = log_runs(folder, str(tmp_path / "mlruns"))
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
        found = [client.get_run(run) for run in runs]
        (whole,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id], "tags.cell = 'all'")
        artefacts = [file.path for file in client.list_artifacts(whole.info.run_id)]
    assert [run.info.run_name for run in found] == ["edge only", "co-inference"]
    assert found[1].data.params["codec"] == "packed"
    assert "codec" not in found[0].data.params
    assert found[1].data.tags["reasons"] == "throttled"
    names = {"latency_speedup", "latency_speedup_lo", "latency_speedup_hi", "energy_mj_ci95", "accuracy_lo"}
    assert names <= set(found[1].data.metrics)
    assert found[1].data.metrics["latency_p50_ms"] == pytest.approx(21)
    assert artefacts == ["summary.csv"]


def test_without_mlflow_there_is_a_line_that_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecordError, match=r"pip install 'neucodex-testbed\[export\]'"):
        log_runs(tmp_path, "mlruns")
