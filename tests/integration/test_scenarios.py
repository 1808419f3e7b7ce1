"""A whole run at which requests arrive at random, faster than an edge can answer them, and all at once."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.worker.arrivals import poisson_ns

pytestmark = pytest.mark.timeout(120)

REQUESTS = 20
DEADLINE_MS = 100
CELLS = (
    {"mode": "co_inference", "model": "plain", "codec": "packed", "scenario": {"target_qps": 50}},
    {"mode": "edge_only", "model": "plain", "scenario": {"target_qps": 1000, "deadline_ms": DEADLINE_MS}},
    {"mode": "edge_only", "model": "plain", "scenario": {"kind": "offline"}},
)


def test_requests_wait_for_their_turn_and_each_ends_in_one_row(lab) -> None:
    scenario = {"kind": "server", "requests": REQUESTS, "warmup": 1}
    done = lab.run("run", lab.experiment(*CELLS, scenario=scenario), "--results", lab.results, "--no-report")
    split, crowded, offline = lab.cells()
    assert all(cell.complete for cell in (split, crowded, offline)), done.text
    for cell in (split, crowded, offline):
        rows = cell.requests
        assert len(rows) % REQUESTS == 0
        assert rows["request_id"].is_unique
        begun, ended, arrived = (rows[name].to_numpy(np.int64) for name in ("t_start_ns", "t_end_ns", "t_arrival_ns"))
        assert (begun >= arrived).all()
        assert (begun[1:] >= ended[:-1]).all()
        assert rows["queue_ms"].to_numpy() == pytest.approx((begun - arrived) / 1e6)
        assert rows["latency_ms"].to_numpy() == pytest.approx((ended - arrived) / 1e6)

    for cell, rate in ((split, 50.0), (crowded, 1000.0)):
        arrived = cell.requests["t_arrival_ns"].to_numpy(np.int64)
        drawn = np.array(poisson_ns(rate, REQUESTS, 0.0, "0/0/arrivals/0"))
        assert (arrived - arrived[0])[:REQUESTS].tolist() == drawn.tolist()
    assert set(split.requests["outcome"]) == {"ok"}

    late = crowded.requests[crowded.requests["outcome"] != "ok"]
    dropped = late[late["reason"] == f"still queued at its deadline of {DEADLINE_MS} ms"]
    assert len(dropped)
    assert (dropped["t_start_ns"] == dropped["t_end_ns"]).all()
    assert (dropped["queue_ms"] >= DEADLINE_MS).all()
    assert crowded.status.valid is False
    assert any(f"within {DEADLINE_MS} ms of their arrival" in reason for reason in crowded.status.reasons)

    arrived = offline.requests["t_arrival_ns"].to_numpy(np.int64)
    for first in range(0, len(arrived), REQUESTS):
        assert len(set(arrived[first : first + REQUESTS])) == 1
    assert offline.manifest.label == "edge-only, offline"
