"""A repeat whose outputs an earlier one has computed records the same numbers, and computes nothing."""

from __future__ import annotations

import pytest

from testbed.record.reader import Cell
from tests.integration.conftest import Lab

pytestmark = pytest.mark.timeout(300)

REQUESTS = 20
CELLS = (
    {"mode": "edge_only", "model": "coded"},
    {"mode": "edge_only", "model": "coded", "exit": {"threshold": 0.9}},
    {"mode": "cloud_only", "model": "coded"},
    {"mode": "co_inference", "model": "coded", "codec": "entropy", "exit": {"threshold": 0.9}},
)
MODELLED = ["edge_compute_ms", "encode_ms", "cloud_compute_ms"]
"""What a model says of the host's clock; the network's time is that of a real connection."""
ANSWERED = ["node", "sample_index", "label", "prediction", "exit_timestep", "payload_up_bytes", "payload_down_bytes"]
STEPS = ["request_id", "timestep", "logits", "confidence", "code_spikes", "code_bits", "payload_bytes"]


def rows(cell: Cell) -> list[list[object]]:
    """What does not follow the host's clock, of the first pass over the samples; times in whole ns."""
    requests, steps = (table[table["request_id"] < REQUESTS] for table in (cell.requests, cell.timesteps))
    assert len(requests) == REQUESTS
    times = (requests[MODELLED] * 1e6).round().astype("int64")
    steps = steps[STEPS].fillna(-1).assign(logits=[list(row) for row in steps["logits"]])
    return [requests[ANSWERED].to_numpy().tolist(), times.to_numpy().tolist(), steps.to_numpy().tolist()]


def ahead(cell: Cell) -> dict[str, tuple[int | None, int | None]]:
    """Of how many samples each node computed its part ahead, and how many of them before."""
    said = {name: node.repeats["0"].finished for name, node in cell.manifest.nodes.items()}
    return {name: (one.computed_ahead, one.computed_before) for name, one in said.items()}


def test_a_warm_store_changes_no_row_of_emulated_nodes(lab: Lab) -> None:
    kept = lab.folder / "cache" / "neucodex" / "outputs"
    lab.environment["XDG_CACHE_HOME"] = str(lab.folder / "cache")
    cloud = lab.device("bench-cloud", "emulated-t4")
    experiment = lab.experiment(*CELLS, cloud=cloud, scenario={"requests": REQUESTS, "warmup": 1}, order="as_written")

    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert done.code == 0, done.text
    cold = lab.cells()
    files = sorted(path.name for path in kept.iterdir())
    again = lab.run("run", experiment, "--results", lab.results, "--no-report", "--fresh")
    assert again.code == 0, again.text
    warm = lab.cells()

    for before, after in zip(cold, warm, strict=True):
        assert rows(after) == rows(before)
        parts = {name for name, (samples, _) in ahead(after).items() if samples}
        assert ahead(after) == {
            name: (REQUESTS, REQUESTS) if name in parts else (0, 0) for name in after.manifest.nodes
        }
    assert ahead(cold[0]) == {"bench-edge": (REQUESTS, 0)}
    assert sorted(path.name for path in kept.iterdir()) == files

    cleaned = lab.run("clean", lab.folder / "bench-edge.yaml")
    assert cleaned.code == 0, cleaned.text
    assert "outputs" in cleaned.out
    assert not kept.exists()


def test_a_real_node_keeps_nothing(lab: Lab) -> None:
    lab.environment["XDG_CACHE_HOME"] = str(lab.folder / "cache")
    edge = lab.device("bench-edge", "host")
    experiment = lab.experiment({"mode": "edge_only", "model": "coded"}, edge=edge, scenario={"requests": 5})
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert not list((lab.folder / "cache").rglob("outputs")), done.text
    (cell,) = lab.cells()
    assert ahead(cell) == {"bench-edge": (None, None)}
