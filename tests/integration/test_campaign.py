"""From one YAML to figures: what a complete campaign leaves behind."""

from __future__ import annotations

import csv
import subprocess
from math import prod

import numpy as np
import pytest

from analysis.metrics.registry import METRICS
from analysis.summary import summary_columns
from testbed.link.codec import codec_named
from testbed.worker.loop import PASS_STRIDE
from tests.integration.conftest import RECIPE

pytestmark = pytest.mark.timeout(300)  # the first test of a session exports the model

CELLS = (
    {"mode": "edge_only", "model": "plain"},
    {"mode": "cloud_only", "model": "plain"},
    {"mode": "co_inference", "model": "plain", "codec": "packed"},
    {"mode": "co_inference", "model": "coded", "codec": "packed", "exit": {"threshold": 0.9}},
    {"mode": "edge_only", "model": "ann"},
)
REQUESTS = 60
ANN = RECIPE.with_name("digits-resnet18-ann.yaml")
MODELS = {name: {"recipe": str(RECIPE), "variant": name} for name in ("plain", "coded")}
MODELS["ann"] = {"recipe": str(ANN), "weights": "int8"}


def test_one_yaml_makes_records_summary_figures_and_report(lab) -> None:
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=4)
    experiment = lab.experiment(*CELLS, edge=edge, models=MODELS, scenario={"requests": REQUESTS, "warmup": 2})

    done = lab.run("run", experiment, "--results", lab.results)

    assert done.code == 0, done.text
    assert not lab.nodes()
    cells = lab.cells()
    assert [cell.manifest.mode for cell in cells] == [cell["mode"] for cell in CELLS]
    for cell in cells:
        names = {path.name for path in cell.folder.iterdir()}
        assert names >= {"manifest.json", "clock.json", "events.jsonl", "logs", "raw", "status.json"}
        assert names >= {f"{table}.parquet" for table in ("requests", "timesteps", "power", "network")}
        assert (cell.status.state, cell.status.valid, cell.status.reasons) == ("complete", True, [])
        assert not list(cell.folder.rglob("*.part"))
        assert len(list((cell.folder / "logs").glob("*.log"))) == len(cell.manifest.nodes)
        _check_requests(cell)
        _check_record(cell)
    plain, cloud, split, coded, ann = cells
    assert coded.requests["exit_timestep"].min() < 4  # else exits were not exercised

    answers = {tuple(answer) for answer in plain.requests[["sample_index", "prediction"]].to_numpy()}
    assert len(answers) == REQUESTS
    for other in (split, cloud):
        assert {tuple(answer) for answer in other.requests[["sample_index", "prediction"]].to_numpy()} == answers
    for right in (plain, ann):
        assert (right.requests["prediction"] == right.requests["label"]).mean() > 0.9
    assert set(ann.requests["sample_index"]) == set(plain.requests["sample_index"])

    _check_summary(lab, cells)
    figures = {path.suffix for path in (lab.campaign / "figures").iterdir()}
    assert figures & {".pdf", ".svg", ".png"}
    report = (lab.campaign / "report.html").read_text()
    assert all(cell.manifest.label in report for cell in cells)
    shown = lab.run("show", lab.campaign)
    assert (shown.code, shown.out.count("edge-only")) == (0, 2), shown.text


def _check_requests(cell) -> None:
    requests, config, model = cell.requests, cell.manifest.config, cell.manifest.model
    # As often as the power sensor needs, each sample equally often.
    passes, left = divmod(len(requests), REQUESTS)
    assert left == 0
    assert list(requests["request_id"]) == [
        number + done * PASS_STRIDE for done in range(passes) for number in range(REQUESTS)
    ]
    assert set(requests["outcome"]) == {"ok"}
    parts = requests[["edge_compute_ms", "encode_ms", "network_ms", "cloud_compute_ms"]]
    rest = requests["latency_ms"] - parts.sum(axis=1)
    assert rest.min() > -1e-6
    assert (parts >= 0).all().all()
    assert rest.median() < max(0.5, 0.2 * requests["latency_ms"].median())
    assert set(requests["node"]) == set(cell.timesteps["node"]) == {"bench-edge"}
    steps = cell.timesteps.groupby("request_id").size()
    assert list(steps) == list(requests["exit_timestep"])
    if config.exit is None:
        assert set(requests["exit_timestep"]) == {model.timesteps}
    expected = {
        "edge_only": 0,
        "cloud_only": prod(model.input_shape),
        "co_inference": requests["exit_timestep"]
        * codec_named(config.codec or "packed").payload_bytes(tuple(model.code_shape or ())),
    }[config.mode]
    assert (requests["payload_up_bytes"] == expected).all()
    if config.mode == "edge_only":
        assert (requests["wire_up_bytes"] == 0).all()
        assert cell.network.empty
    else:
        assert (requests["wire_up_bytes"] > requests["payload_up_bytes"]).all()
        assert (requests["network_ms"] > 0).all()
        assert (requests["cloud_compute_ms"] > 0).all()


def _check_record(cell) -> None:
    assert set(cell.power["scope"]) == {"emulated"}
    assert set(cell.power["node"]) == {"bench-edge"}
    mw = cell.power["mw"]  # a sample may make up for the one before, where the machine stalled in between
    assert 5200 <= mw.mean() <= 7920
    nodes = {"bench-edge"} if cell.manifest.mode == "edge_only" else {"bench-edge", "bench-cloud"}
    assert set(cell.manifest.nodes) == {event.node for event in cell.events} == nodes
    assert {(clock.node, clock.when) for clock in cell.clock} == {
        (node, when) for node in nodes for when in ("before", "during", "after")
    }
    for clock in cell.clock:  # one machine, one monotonic clock
        assert abs(clock.offset_ns) <= clock.bound_ns
    assert {line.node for line in cell.clock_lines} == nodes
    for line in cell.clock_lines:
        assert line.straight
        assert abs(line.offset_ns) <= line.bound_ns
        assert abs(line.skew_ppm) <= line.skew_bound_ppm
    phases = [event.detail["phase"] for event in cell.events if event.node == "bench-edge" and event.event == "phase"]
    assert phases == ["warmup", "idle_before", "measure", "idle_after", "end"]
    assert not [event for event in cell.events if event.event != "phase"]
    (said,) = cell.manifest.nodes["bench-edge"].repeats.values()
    kept = said.finished.timekeeping
    assert (kept.stages > 0) == (said.finished.computed_ahead == REQUESTS) == (cell.manifest.mode != "cloud_only")


def _check_summary(lab, cells) -> None:
    with (lab.campaign / "summary.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == summary_columns(METRICS.values())
    assert len(rows) == len(cells)
    *spiking, ann = rows
    assert (ann["label"], ann["spiking"].lower(), ann["weights"]) == ("edge-only ANN int8", "false", "int8")
    assert {row["spiking"].lower() for row in spiking} == {"true"}
    assert [row["baseline"].lower() for row in rows] == ["true", *["false"] * 4]
    assert len({row["compared_with"] for row in rows}) == 1
    assert float(ann["energy_op_count_mj"]) > 0
    for row, cell in zip(rows, cells, strict=True):
        requests = cell.requests
        assert (row["label"], row["mode"]) == (cell.manifest.label, cell.manifest.mode)
        assert float(row["accuracy"]) == pytest.approx((requests["prediction"] == requests["label"]).mean(), abs=1e-4)
        assert float(row["latency_p50_ms"]) == pytest.approx(np.percentile(requests["latency_ms"], 50), rel=0.02)
        assert float(row["energy_mj"]) > 0
        assert row["energy_source"] == "emulated"
        assert row["cloud_energy_mj"] == ""
        assert row["valid"].lower() == "true"
        # Between resting and everything on, for as long as the requests took.
        seconds = (requests["t_end_ns"].max() - requests["t_start_ns"].min()) / 1e9 / len(requests)
        assert 5200 * seconds * 0.99 < float(row["energy_mj"]) < 7920 * seconds * 1.01


def test_the_edge_worker_runs_where_there_is_no_torch(lab, node_python) -> None:
    for package in ("torch", "pydantic", "pandas", "pyarrow", "typer"):
        tried = subprocess.run([node_python, "-c", f"import {package}"], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in tried.stderr, package
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=30, python=str(node_python))
    cells = ({"mode": "edge_only", "model": "plain"}, {"mode": "co_inference", "model": "coded", "codec": "packed"})
    running = lab.start("run", lab.experiment(*cells, edge=edge), "--results", lab.results, "--no-report")

    lab.wait_until_measuring()
    (worker,) = lab.nodes("bench-edge")
    assert worker.cmdline()[0] == str(node_python)
    samplers = [child.cmdline()[0] for child in worker.children()]
    assert samplers == [str(node_python)]
    done = running.outcome()

    assert done.code == 0, done.text
    for cell in lab.cells():
        assert cell.complete
        edge = cell.manifest.nodes["bench-edge"]
        assert edge.profile.python == str(node_python)
        assert edge.repeats["0"].hello.python.startswith("3.")
