"""A whole run whose cloud is stopped in the middle and goes on later, with an edge that answers alone meanwhile."""

from __future__ import annotations

import json
import re
import signal

import pytest

pytestmark = pytest.mark.timeout(120)

SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed", "fallback": "edge_only"}
REQUESTS = 110
TIMEOUT_MS = 1500


def test_a_cloud_that_is_stopped_and_goes_on_costs_no_request_and_is_asked_again(lab) -> None:
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=50)
    scenario = {"requests": REQUESTS, "warmup": 1, "timeout_ms": TIMEOUT_MS}
    running = lab.start(
        "run", lab.experiment(SPLIT, edge=edge, scenario=scenario), "--results", lab.results, "--no-report"
    )
    folder = lab.wait_until_measuring("co_inference")
    (cloud,) = lab.nodes("bench-cloud")

    def events() -> list[dict]:
        lines = [path.read_text().splitlines() for path in folder.glob("raw/*/*/bench-edge/events.jsonl")]
        return [json.loads(line) for line in lines[0]]

    cloud.send_signal(signal.SIGSTOP)
    lab.wait_for("a probe fails", lambda: any(event["event"] == "probe_failed" for event in events()))
    cloud.send_signal(signal.SIGCONT)

    done = running.outcome()
    (cell,) = lab.cells()
    assert cell.complete, done.text
    assert cell.manifest.config.fallback == "edge_only"
    assert cell.manifest.label.endswith(", fallback edge-only")
    requests = cell.requests.sort_values("request_id")
    assert list(requests["request_id"]) == list(range(REQUESTS))
    assert set(requests["outcome"]) == {"ok"}
    by = "".join(word[0] for word in requests["answered_by"])
    assert re.fullmatch("c+e+c.*", by), by  # a busy machine may lose its cloud once more
    first = by.index("e")
    assert requests.iloc[first]["latency_ms"] >= TIMEOUT_MS
    # Each request has all its timesteps, and those of the edge's answers crossed no link.
    steps = cell.timesteps.groupby("request_id")["payload_bytes"]
    assert set(steps.size()) == {cell.manifest.model.timesteps}
    assert list(steps.count() == 0) == [letter == "e" for letter in by]
    story = [(event.event, event.detail.get("pause_s")) for event in cell.events]
    story = [(what, pause_s) for what, pause_s in story if what.startswith(("cloud_", "probe_"))]
    until_back = story[: story.index(("cloud_back", None))]
    assert until_back[0] == ("cloud_lost", 1.0)
    assert ("probe_failed", None) in until_back
    pauses = [pause_s for what, pause_s in until_back if what == "probe_sent"]
    assert until_back[-1] == ("probe_sent", pauses[-1])
    assert set(pauses) <= {2.0, 4.0, 8.0, 16.0}
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 4
    (said,) = cell.manifest.nodes["bench-edge"].repeats.values()
    assert said.loaded.fallback.backbone.form in ("whole", "steps")
    assert said.loaded.fallback.resident_bytes > 0
