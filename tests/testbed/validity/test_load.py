"""Whether an edge keeps up with what arrives, and whether enough is answered in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from testbed.record.documents import ScenarioDocument
from testbed.record.log import write_json
from testbed.record.queue import Load, loads, throughput_qps
from testbed.record.reader import Cell, read_cell
from testbed.record.schema import RequestRow
from testbed.record.tables import write_table
from testbed.validity import requests
from tests.made import records

MS = 1_000_000
SERVER = ScenarioDocument(kind="server", target_qps=100.0, requests=None, warmup=1, timeout_ms=5000)


def cell_of(folder: Path, rows: Sequence[RequestRow], scenario: ScenarioDocument = SERVER) -> Cell:
    write_json(folder / "manifest.json", records.manifest(config=records.config(scenario=scenario)))
    log = folder / "requests.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    write_table(folder / "requests.parquet", RequestRow, [log])
    return read_cell(folder)


def queued(arrivals_ms: Sequence[int], took_ms: int, pause_ms: int = 0, **changes: object) -> list[RequestRow]:
    """Requests one after the other that each take so long, with a pause between two that follow on each other."""
    rows, over_ms = [], -(10**9)
    for number, arrival_ms in enumerate(arrivals_ms):
        start_ms = arrival_ms if over_ms < arrival_ms else over_ms + pause_ms
        over_ms = start_ms + took_ms
        row = records.request(
            request_id=number,
            t_arrival_ns=arrival_ms * MS,
            t_start_ns=start_ms * MS,
            t_end_ns=over_ms * MS,
            queue_ms=float(start_ms - arrival_ms),
            latency_ms=float(over_ms - arrival_ms),
        )
        rows.append(replace(row, **changes))
    return rows


def test_the_load_of_an_edge_is_counted_from_its_rows(tmp_path) -> None:
    # Busy from 0 to 9, where the next one waits already, and its work between the two counts, and from 30 to 38.
    (load,) = loads(cell_of(tmp_path, queued([0, 5, 30, 46], took_ms=8, pause_ms=1)))
    assert load == Load(
        edge="board",
        repeat=0,
        requests=4,
        answered=4,
        arriving_s=0.046,
        lasting_s=0.054,
        busy_s=(9 + 8 + 8 + 8) / 1e3,
        waiting=0,
    )
    assert load.offered_qps == 3 / 0.046
    assert load.throughput_qps == 4 / 0.054
    assert load.utilisation == pytest.approx(33 / 4 * 3 / 46)


def test_where_requests_follow_on_each_other_throughput_is_what_the_edge_can_do(tmp_path) -> None:
    once = queued([0] * 5, took_ms=10)
    cell = cell_of(tmp_path, [*once, *(replace(row, repeat=1, request_id=9) for row in once[:1])])
    first, second = loads(cell)
    assert (first.throughput_qps, first.offered_qps, first.utilisation) == (100.0, None, None)
    assert throughput_qps(cell) == {0: 100.0, 1: 100.0}
    assert second.offered_qps is None


def test_rows_from_before_there_were_arrivals_arrived_when_they_began(tmp_path) -> None:
    rows = [replace(row, t_arrival_ns=None, queue_ms=None) for row in queued([0, 20, 40], took_ms=10)]
    (load,) = loads(cell_of(tmp_path, rows))
    assert (load.arriving_s, load.busy_s) == (0.04, 0.03)


def test_an_edge_that_cannot_keep_up_is_saturated_and_how_far_it_was_behind_is_said(tmp_path) -> None:
    just, over = queued(range(0, 200, 10), took_ms=10), queued(range(0, 200, 10), took_ms=11)
    assert list(requests.saturated(cell_of(tmp_path / "fine", queued(range(0, 200, 10), took_ms=9)))) == []
    assert len(list(requests.saturated(cell_of(tmp_path / "just", just)))) == 1
    (reason,) = requests.saturated(cell_of(tmp_path / "over", over))
    assert reason == (
        "board, repeat 0: saturated: 100 requests arrive in a second and need 1.10 s of the edge (limit 1 s); when the "
        "last of 20 arrived, 2 were not done"
    )
    offline = replace(SERVER, kind="offline", target_qps=None)
    assert list(requests.saturated(cell_of(tmp_path / "offline", over, offline))) == []


def test_a_server_with_a_bound_says_that_99_percent_have_to_keep_it(tmp_path) -> None:
    rows = queued(range(0, 1000, 10), took_ms=5)
    late = [replace(row, outcome="timeout", reason="late") for row in rows[:2]]
    bounded = replace(SERVER, deadline_ms=50)
    assert list(requests.unanswered(cell_of(tmp_path / "fine", [*late[:1], *rows[1:]], bounded))) == []
    (reason,) = requests.unanswered(cell_of(tmp_path / "late", [*late, *rows[2:]], bounded))
    assert reason == (
        "2.0% of the requests were not answered within 50 ms of their arrival, as 99% of a server's have to be "
        "(limit 1%)"
    )
