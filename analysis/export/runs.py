"""Cells as runs of MLflow: factors are params, metrics and their intervals metrics, figures and tables artefacts."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.export.cells import whole_cells
from analysis.export.public import TEXTS, public_copy, without_private
from analysis.factors import factors_of
from analysis.metrics.measured import Measured
from analysis.metrics.registry import measure, metrics
from testbed.errors import RecordError
from testbed.record.layout import CellFolder, ExperimentFolder

if TYPE_CHECKING:
    from mlflow.entities import Metric as Logged
    from mlflow.tracking import MlflowClient

_URI = re.compile(r"[a-z][a-z0-9+.\-]*:.+", re.IGNORECASE)


def log_runs(folder: Path, where: str) -> list[str]:
    """Log each cell as a run of the MLflow experiment that is named after the testbed's, and all else as one more.

    Args:
        folder: the experiment's results.
        where: a tracking URI, or a folder.

    Returns:
        The ids of the cells' runs, in their order.

    Raises:
        RecordError: `mlflow-skinny` is not installed, a piece of the results is missing or torn, or the tracker does
            not take the runs.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise RecordError("MLflow's runs need the package mlflow-skinny: pip install 'neucodex-testbed[export]'")
    if not _URI.fullmatch(where):
        # MLflow keeps runs in a folder only for who asks for it so: its own releases moved on to data bases.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        where = Path(where).resolve().as_uri()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    measured = measure(whole_cells(folder))
    name = measured[0].cell.manifest.experiment
    try:
        client = MlflowClient(tracking_uri=where)
        found = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if found is None else found.experiment_id
        runs = [_log_cell(client, experiment, one) for one in measured]
        _log_campaign(client, experiment, folder)
    except MlflowException as error:
        raise RecordError(f"{where}: MLflow does not take the runs: {' '.join(str(error).split())[:300]}") from error
    return runs


def _log_cell(client: MlflowClient, experiment: str, one: Measured) -> str:
    from mlflow.entities import Param, RunTag

    manifest = one.cell.manifest
    tags = {"cell": manifest.cell, "valid": one.verdict, "reasons": without_private("; ".join(one.reasons))}
    run = client.create_run(experiment, run_name=one.label, tags={name: text for name, text in tags.items() if text})
    identifier: str = run.info.run_id
    params = [Param(name, _text(value)) for name, value in factors_of(manifest).items() if value is not None]
    client.log_batch(identifier, metrics=_metrics(one), params=params, tags=[RunTag("testbed", manifest.code.version)])
    _log_files(client, identifier, [CellFolder(one.cell.folder).manifest, CellFolder(one.cell.folder).status], "")
    client.set_terminated(identifier, "FINISHED" if one.cell.complete else "FAILED")
    return identifier


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else without_private(str(value))


def _metrics(one: Measured) -> list[Logged]:
    """The numbers of `summary.csv`, with the ends of their intervals."""
    from mlflow.entities import Metric as Logged

    now = time.time_ns() // 1_000_000
    found = []
    for metric in metrics():
        value = one.get(metric)
        for column in () if value is None else metric.columns:
            number = column.field(value)
            if isinstance(number, int | float) and math.isfinite(number):
                found.append(Logged(column.name, float(number), now, 0))
    return found


def _log_campaign(client: MlflowClient, experiment: str, folder: Path) -> None:
    """What was made of all cells, in a run of its own."""
    place = ExperimentFolder(folder)
    run = client.create_run(experiment, run_name="campaign", tags={"cell": "all"})
    _log_files(client, run.info.run_id, [place.summary, place.report], "")
    for part in (place.figures, place.tables):
        _log_files(client, run.info.run_id, sorted(part.glob("[!.]*.*")), part.name)
    client.set_terminated(run.info.run_id)


def _log_files(client: MlflowClient, run: str, paths: Sequence[Path], place: str) -> None:
    """Files as artefacts; of a text, a copy without what is private."""
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            if path.exists():
                copied = public_copy(path, Path(name) / path.name) if path.suffix in TEXTS else path
                client.log_artifact(run, str(copied), place or None)
