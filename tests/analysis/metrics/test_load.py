"""What is drawn from a cell at which requests arrive at random or all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.compare.numbers import numbers
from analysis.headline import headlines
from analysis.metrics import latency, latency_speedup, mlperf, queue, stages, throughput
from analysis.metrics.registry import measure
from analysis.tables import table
from tests.analysis.conftest import REQUESTS
from tests.analysis.measuring import value

SERVER = {"kind": "server", "target_qps": 50.0}
EVERY_50_MS = [50.0 * number for number in range(REQUESTS)]
ALL_AT_ONCE = [0.0] * REQUESTS
TOOK_MS = [20 + number % 3 for number in range(REQUESTS)]


def server(make_cell, label: str = "server", **changes: Any):
    return make_cell(label, scenario={**SERVER, **changes.pop("asked", {})}, **{"arrivals_ms": EVERY_50_MS, **changes})


def offline(make_cell, **changes: Any):
    return make_cell("offline", scenario={"kind": "offline"}, arrivals_ms=ALL_AT_ONCE, **changes)


def test_latency_counts_from_the_arrival_and_its_tails_have_intervals(make_cell) -> None:
    found = value(latency.METRIC, offline(make_cell))
    ends_ms = np.cumsum(TOOK_MS)
    assert found.mean_ms == pytest.approx(ends_ms.mean())
    assert found.p90_ms == pytest.approx(np.percentile(ends_ms, 90), rel=0.01)
    assert (found.p90.half, found.p99.half) == pytest.approx((0, 0), abs=1e-9)


def test_where_all_requests_are_there_at_once_throughput_is_the_result(make_cell) -> None:
    cell = offline(make_cell)
    found = value(throughput.METRIC, cell)
    assert found.qps.mean == pytest.approx(REQUESTS / sum(TOOK_MS) * 1000)
    waits = value(queue.METRIC, cell)
    assert (waits.offered_qps, waits.utilisation) == (None, None)
    assert waits.wait_ms == pytest.approx((np.cumsum(TOOK_MS) - TOOK_MS).mean())
    number = value(mlperf.METRIC, cell)
    assert number.what == "Offline: samples/s"
    assert number.value.mean == found.qps.mean


def test_a_servers_load_and_wait_are_those_of_its_arrivals(make_cell) -> None:
    found = value(queue.METRIC, server(make_cell))
    assert found.offered_qps == pytest.approx(20)
    assert found.utilisation == pytest.approx(np.mean(TOOK_MS) / 50)
    assert (found.wait_ms, found.share) == (0, 0)
    crowded = value(queue.METRIC, server(make_cell, "crowded", arrivals_ms=[21.0 * n for n in range(REQUESTS)]))
    assert crowded.wait_ms > 0
    assert crowded.share == pytest.approx(crowded.wait_ms / (crowded.wait_ms + np.mean(TOOK_MS)))


def test_a_server_has_its_rate_as_mlperfs_number_if_enough_kept_its_bound(make_cell) -> None:
    bound = {"deadline_ms": 100}
    kept = value(mlperf.METRIC, server(make_cell, "kept", asked=bound))
    assert (kept.value.mean, kept.within, kept.text) == (50, 1, "50/s, 100.0% in time")
    assert kept.what == "Server: target_qps with 99% within 100 ms [1/s]"
    missed = value(mlperf.METRIC, server(make_cell, "missed", asked=bound, outcomes={0: "timeout"}))
    assert (missed.value, missed.text) == (None, "not met, 97.5% in time")
    assert value(mlperf.METRIC, server(make_cell, "unbound")).text == "no bound"


def test_in_a_single_stream_mlperfs_number_is_the_90th_percentile_and_nothing_waits(make_cell) -> None:
    cell = make_cell("one by one")
    assert value(queue.METRIC, cell) is None
    assert value(stages.METRIC, cell)["queue"] == 0
    found = value(mlperf.METRIC, cell)
    assert found.what == "SingleStream: 90th percentile of latency [ms]"
    assert found.value.mean == value(latency.METRIC, cell).p90_ms


def test_the_wait_is_a_stage_of_the_latency(make_cell) -> None:
    cell = offline(make_cell)
    found = value(stages.METRIC, cell)
    assert found["queue"] == pytest.approx(value(queue.METRIC, cell).wait_ms)
    assert sum(found.values()) == pytest.approx(value(latency.METRIC, cell).mean_ms)


def test_cells_are_compared_with_the_baseline_to_which_requests_arrive_alike(make_cell) -> None:
    slow, fast = {"kind": "server", "target_qps": 10.0}, {"kind": "server", "target_qps": 20.0}
    cells = [
        make_cell("alone", "edge_only", baseline=True, scenario=slow),
        make_cell("alone at 20", "edge_only", baseline=True, scenario=fast, latency_ms=40, position=1),
        make_cell("split at 20", scenario=fast, position=2),
        make_cell("split at 30", scenario={"kind": "server", "target_qps": 30.0}, position=3),
    ]
    *_, split, other = measure(cells)
    assert split.baseline.label == "alone at 20"
    assert split.get(latency_speedup.METRIC).value == pytest.approx(41 / 21)
    assert other.baseline is None


def test_the_papers_headline_is_of_one_request_after_the_other(make_cell) -> None:
    cells = [
        make_cell("alone", "edge_only", baseline=True, scenario=SERVER),
        make_cell("split", scenario=SERVER, position=1),
    ]
    assert headlines(measure(cells)) == []


def test_the_columns_of_a_queue_are_shown_where_there_is_one(make_cell) -> None:
    cells = [make_cell("one by one"), server(make_cell, position=1)]
    headers, rows = table(measure(cells))
    at = headers.index("queue [% of latency]")
    assert [row[at] for row in rows] == ["", "0"]
    assert [row[headers.index("edge busy [%]")] for row in rows] == ["", "42"]
    assert "queue [% of latency]" not in table(measure(cells[:1]))[0]
    assert "throughput [1/s]" not in table(measure(cells[:1]))[0]


def test_throughput_and_the_tail_are_compared_where_they_are_the_result(make_cell) -> None:
    assert {"throughput_qps", "latency_p99_ms"} & numbers(make_cell("one by one")).keys() == set()
    assert {"throughput_qps", "latency_p99_ms"} <= numbers(server(make_cell)).keys()
    assert "throughput_qps" in numbers(offline(make_cell))
