"""Schedules in a campaign of real processes, said or chosen: the answers of stop-and-wait, in fewer round trips."""

from __future__ import annotations

from copy import deepcopy

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test of a session exports the model

ALONE = {"mode": "edge_only", "model": "coded", "exit": {"threshold": 0.97}}
SPLIT = {"mode": "co_inference", "model": "coded", "codec": "auto", "exit": {"threshold": 0.97}}
CHUNKS = {"chunks": [1, 3]}
PLAIN = {"mode": "co_inference", "model": "coded", "codec": "packed"}
FAR = {"like": "ethernet", "mbit_s": 100, "rtt_ms": 30, "loss": 0}


def test_a_windowed_and_chunked_campaign_has_the_answers_of_stop_and_wait(lab) -> None:
    edge = lab.device("bench-edge", power=[])
    # Each with blocks of its own, since a file may not refer to one twice.
    cells = map(deepcopy, (ALONE, ALONE | CHUNKS, SPLIT, SPLIT | CHUNKS | {"window": 4}))
    scenario = {"requests": 30, "warmup": 1}

    done = lab.run("run", lab.experiment(*cells, edge=edge, scenario=scenario), "--no-report", "--results", lab.results)

    assert done.code == 0, done.text
    alone, in_chunks, split, streamed = lab.cells()
    for single, other in ((alone, in_chunks), (split, streamed)):
        keys = ["sample_index", "exit_timestep", "prediction", "outcome"]
        assert (single.requests[keys] == other.requests[keys]).all().all()
        for column in ("logits", "confidence"):
            assert list(map(repr, single.timesteps[column])) == list(map(repr, other.timesteps[column]))
        assert single.requests["wasted_timesteps"].sum() == 0
        in_vain = other.requests["wasted_timesteps"] + other.requests["exit_timestep"]
        assert set(in_vain) <= {1, 4}
        assert (other.requests["wasted_timesteps"] > 0).any()
        assert single.manifest.model.hash == other.manifest.model.hash
    assert streamed.requests["frames_down"].max() <= 2
    assert split.requests["frames_down"].max() > 2
    sent = streamed.requests["payload_up_bytes"] - streamed.requests["wasted_up_bytes"]
    assert (sent == split.requests["payload_up_bytes"]).all()


def test_a_far_cloud_is_asked_ahead_and_answers_as_it_does_in_stop_and_wait(lab) -> None:
    cells = ({**PLAIN, "schedule": "auto"}, PLAIN)
    edge = lab.device("bench-edge", "emulated-orin-nano", call_ms=1)
    experiment = lab.experiment(*cells, edge=edge, link=FAR, repeats=2, scenario={"requests": 6, "warmup": 1})
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert done.code == 0, done.text
    chosen, alone = lab.cells()
    assert chosen.manifest.label.startswith("co-inference 2048x packed, schedule auto")

    (edge,) = chosen.manifest.role("edge")
    (cloud,) = chosen.manifest.role("cloud")
    first, second = (edge.repeats[repeat].schedule for repeat in ("0", "1"))
    assert first == second
    assert sum(first.chunks) == 4
    # Nothing exits, so a request is worth one round trip, and not four.
    assert first.latency_ms < 60 < 120 < first.stop_and_wait_ms
    assert [call.timesteps for call in edge.repeats["0"].loaded.stages.calls] == [1, 2, 3, 4]
    assert [call.timesteps for call in cloud.repeats["0"].loaded.stages.calls] == [1, 2, 3, 4]
    assert (chosen.requests["frames_up"] == len(first.chunks)).all()
    assert (alone.requests["frames_up"] == 4).all()

    def answers(cell):
        rows = cell.timesteps.merge(cell.requests[["repeat", "request_id", "sample_index"]])
        return {(row.sample_index, row.timestep): tuple(row.logits) for row in rows.itertuples()}

    assert answers(chosen) == answers(alone)
