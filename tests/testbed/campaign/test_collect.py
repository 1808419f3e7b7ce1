"""From what is on disk to tables and a status, without any process."""

from __future__ import annotations

import msgspec
import pytest

from devices.base.rowlog import RowLog
from testbed.campaign import collect_cell, look
from testbed.errors import RecordError
from testbed.record.documents import AttemptRecord, Status
from testbed.record.late import LATE, LateRow
from testbed.record.log import write_json
from testbed.record.reader import read_cell, read_document
from testbed.record.resent import RESENT, STREAMS, ResentRow, StreamRow
from testbed.record.schema import SCHEMA_VERSION
from tests.made import cells, records


def test_a_cell_whose_repeats_are_all_measured_is_complete_and_judged(tmp_path) -> None:
    cell = cells.begun(tmp_path)
    cells.measured(cell, 0)
    cells.measured(cell, 1)

    status = collect_cell(cell)

    assert (status.state, status.valid, status.reasons, status.repeats_done) == ("complete", True, [], [0, 1])
    read = read_cell(tmp_path)
    assert read.status == status
    assert list(zip(read.requests["repeat"], read.requests["request_id"], strict=True)) == [
        (repeat, number) for repeat in (0, 1) for number in range(3)
    ]
    assert len(read.timesteps) == 6
    assert [event.repeat for event in read.events] == [0, 1]
    assert {(line.node, line.repeat) for line in read.clock_lines} == {
        (n, r) for n in ("board", "server") for r in (0, 1)
    }
    assert {name: sorted(node.repeats) for name, node in read.manifest.nodes.items()} == {
        "board": ["0", "1"],
        "server": ["0", "1"],
    }


def test_a_complete_cell_that_misses_a_gate_is_invalid_and_says_which(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    attempt = cells.measured(cell, 0)
    rows = attempt.rows("board", "requests")
    rows.write_text(rows.read_text().replace('"outcome":"ok"', '"outcome":"timeout"'))
    status = collect_cell(cell)
    assert (status.state, status.valid) == ("complete", False)
    assert any("of the requests were not answered" in reason for reason in status.reasons)


def test_rows_of_two_edges_lie_in_one_table_and_are_told_apart(tmp_path) -> None:
    nodes = [records.node(records.profile(name)) for name in ("a", "b")]
    cell = cells.begun(tmp_path, 1, nodes, mode="edge_only")
    cells.measured(cell, 0, nodes=("a", "b"), edges=("a", "b"))
    assert collect_cell(cell).state == "complete"
    assert read_cell(tmp_path).requests.groupby("node").size().to_dict() == {"a": 3, "b": 3}


def test_what_came_late_is_in_the_waste_of_the_request_that_it_is_of(tmp_path) -> None:
    cell = cells.begun(tmp_path)
    for repeat in (0, 1):
        attempt = cells.measured(cell, repeat)
        with RowLog(attempt.rows("board", LATE)) as log:
            for timestep in range(2):
                row = LateRow(
                    node="board", repeat=repeat, request_id=1, timestep=timestep, cloud_ns=1_500_000, payload_bytes=48
                )
                log.append(row)
            log.append(msgspec.structs.replace(row, request_id=0xFFFF_FFFF))  # of the warm-up
    assert collect_cell(cell).state == "complete"
    found = read_cell(tmp_path).requests
    late = found["request_id"] == 1
    assert found[late]["wasted_cloud_ms"].tolist() == [3.0, 3.0]
    assert found[late]["wasted_down_bytes"].tolist() == [96, 96]
    assert found[~late]["wasted_cloud_ms"].isna().all()


def test_what_the_shaper_sent_again_is_in_the_wire_bytes_of_its_requests_and_of_no_other_repeats(tmp_path) -> None:
    cell = cells.begun(tmp_path)
    for repeat in (0, 1):
        attempt = cells.measured(cell, repeat)
        with RowLog(attempt.rows("board", STREAMS)) as log:  # a port that comes back
            log.append(
                *(
                    StreamRow(
                        node="board",
                        repeat=repeat,
                        request_id=number,
                        connection="10.0.0.2:40000",
                        up_from=100 * number,
                        up_to=100 * number + 100,
                        down_from=0,
                        down_to=0,
                    )
                    for number in range(3)
                )
            )
    with RowLog(attempt.rows("server", RESENT)) as log:
        log.append(ResentRow(connection="10.0.0.2:40000", side="up", at=150, wire_bytes=152))
    usual = records.request().wire_up_bytes
    collect_cell(cell)
    found = read_cell(tmp_path).requests.set_index(["repeat", "request_id"])["wire_up_bytes"]
    assert found.sub(usual).loc[lambda more: more != 0].to_dict() == {(1, 1): 152}


def test_a_cell_that_was_interrupted_is_aborted_and_shows_how_far_it_got(tmp_path) -> None:
    cell = cells.begun(tmp_path)
    cells.measured(cell, 0)
    cells.tried(cell, 1, requests=2)
    status = collect_cell(cell)
    assert (status.state, status.valid, status.repeats_done) == ("aborted", None, [0])
    assert status.reasons == ["1 of 2 repeats were measured"]
    assert read_cell(tmp_path).requests.groupby("repeat").size().to_dict() == {0: 3, 1: 2}


def test_a_failure_is_known_from_the_disk_alone(tmp_path) -> None:
    cell = cells.begun(tmp_path)
    cells.measured(cell, 0)
    cells.failed(cell, 1, "edge board, measuring: silent for 1.6 s")
    status = collect_cell(cell)
    assert (status.state, status.valid) == ("failed", None)
    assert status.reasons == ["repeat 1: edge board, measuring: silent for 1.6 s"]
    assert collect_cell(cell) == status, "collected again, after a resume that did not come so far"


def test_a_repeat_that_failed_and_was_measured_again_is_complete_and_shows_the_second_try(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    cells.failed(cell, 0, "no luck")
    cells.measured(cell, 0)
    assert collect_cell(cell).state == "complete"
    assert len(read_cell(tmp_path).requests) == 3


def test_a_try_that_was_interrupted_after_one_that_failed_is_no_failure(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    cells.failed(cell, 0, "no luck")
    cells.tried(cell, 0, requests=1)
    status = collect_cell(cell)
    assert (status.state, status.reasons) == ("aborted", ["0 of 1 repeats were measured"])
    assert len(read_cell(tmp_path).requests) == 1


def test_a_try_that_reached_no_node_does_not_hide_what_an_earlier_one_recorded(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    cells.tried(cell, 0, requests=2)
    write_json(cell.next_attempt(0).failure, cells.failure("board: no route to host"))
    assert collect_cell(cell).reasons == ["repeat 0: board: no route to host"]
    assert len(read_cell(tmp_path).requests) == 2


def test_an_attempt_without_the_rows_that_it_says_it_measured_is_not_complete(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    attempt = cells.measured(cell, 0)
    rows = attempt.rows("board", "requests")
    rows.write_bytes(rows.read_bytes()[:-5])
    status = collect_cell(cell)
    assert (status.state, status.repeats_done) == ("failed", [])
    assert status.reasons == [f"repeat 0: board measured 3 requests, and {rows} holds 2; testbed run measures again"]
    rows.unlink()
    assert look(cell, 1)[0].record is None


@pytest.mark.parametrize("table", ["timesteps", "events", "power", "network"])
def test_an_attempt_without_what_a_node_says_it_recorded_is_not_complete(tmp_path, table: str) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    attempt = cells.measured(cell, 0)
    log = attempt.rows("board", table)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b'{"a":1}\n{"a":2}\n')
    record = read_document(attempt.record, AttemptRecord)
    told = record.nodes.get("board") or records.node_repeat()
    finished = msgspec.structs.replace(told.finished, written={table: 16})
    told = msgspec.structs.replace(told, finished=finished)
    write_json(attempt.record, msgspec.structs.replace(record, nodes={"board": told}))
    assert look(cell, 1)[0].failure is None
    log.write_bytes(b'{"a":1}\n')
    assert look(cell, 1)[0].failure == f"board recorded 16 bytes in {log}, which has 8; testbed run measures again"
    log.unlink()
    assert look(cell, 1)[0].record is None


def test_a_line_that_was_cut_short_is_in_no_table(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    attempt = cells.tried(cell, 0)
    for table in ("requests", "events"):
        with attempt.rows("board", table).open("ab") as log:
            log.write(b'{"request_id": 3, "no')
    collect_cell(cell)
    read = read_cell(tmp_path)
    assert (len(read.requests), len(read.events)) == (3, 1)


def test_nothing_measured_yet_is_aborted_with_empty_tables(tmp_path) -> None:
    status = collect_cell(cells.begun(tmp_path))
    assert (status.state, status.reasons) == ("aborted", ["0 of 2 repeats were measured"])
    assert read_cell(tmp_path).requests.empty


def test_an_attempt_of_another_schema_is_refused(tmp_path) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    write_json(cells.tried(cell, 0).record, {"schema": SCHEMA_VERSION + 1})
    with pytest.raises(RecordError, match=rf"attempt-000/attempt.json: recorded with schema {SCHEMA_VERSION + 1}"):
        collect_cell(cell)


def test_the_status_is_written_last(tmp_path, monkeypatch) -> None:
    cell = cells.begun(tmp_path, repeats=1)
    cells.measured(cell, 0)

    def judge(read):
        assert not cell.status.exists()
        assert not read.requests.empty
        return ["not believed"]

    monkeypatch.setattr("testbed.campaign.collect.reasons", judge)
    assert collect_cell(cell).reasons == ["not believed"]
    assert read_document(cell.status, Status).valid is False
