"""A worker that was killed leaves what it recorded, and which request it was in."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import WorkerError
from testbed.worker.begun import Begun, Note, lost_row, recorded


def test_the_last_request_that_began_is_known_to_whoever_comes_after(tmp_path: Path):
    begun = Begun(tmp_path / "begun")
    assert begun.last() is None
    begun.note(7, 3)
    begun.note(8, 5)
    after = Begun(tmp_path / "begun").last()
    assert after is not None
    assert (after.request, after.sample) == (8, 5)
    assert after.t_ns > 0


def test_a_request_that_arrived_before_it_began_keeps_when_it_did(tmp_path: Path):
    begun = Begun(tmp_path / "begun")
    begun.note(7, 3, 1_000_000)
    note = begun.last()
    assert note is not None
    assert note.arrival_ns == 1_000_000
    row = lost_row(note, node="board", repeat=0, label=6)
    assert row.t_arrival_ns == 1_000_000
    assert row.queue_ms == pytest.approx((row.t_start_ns - 1_000_000) / 1e6)
    assert row.latency_ms == pytest.approx((row.t_end_ns - 1_000_000) / 1e6)
    begun.note(8, 3)
    note = begun.last()
    assert note is not None
    assert note.arrival_ns is None
    assert lost_row(note, node="board", repeat=0, label=6).queue_ms is None


def test_rows_are_counted_whole_and_a_cut_one_is_removed(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    assert recorded(log) == []
    log.write_text('{"request_id":4,"node":"a"}\n{"request_id":5}\n{"request_id":')
    assert recorded(log) == [4, 5]
    assert log.read_text().endswith('{"request_id":5}\n')


def test_a_log_that_is_none_is_an_error_that_names_it(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    log.write_text("nonsense\n")
    with pytest.raises(WorkerError, match=r"requests\.jsonl"):
        recorded(log)


def test_the_request_that_ended_with_the_edge_has_a_row_that_says_so():
    row = lost_row(Note(9, 2, 1000), node="board", repeat=1, label=6)
    assert (row.request_id, row.sample_index, row.label, row.outcome) == (9, 2, 6, "error")
    assert row.reason is not None
    assert "killed" in row.reason
    assert row.t_end_ns > row.t_start_ns == 1000
