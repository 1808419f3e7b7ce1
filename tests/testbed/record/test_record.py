"""Rows survive what ends a process, and come back as they went in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from devices.base.errors import DeviceError
from devices.base.power import PowerRow
from devices.base.rowlog import RowLog
from testbed.errors import DiskError, RecordError
from testbed.record.documents import Manifest, Status
from testbed.record.exits import accumulate, confidence, exit_timestep
from testbed.record.log import make_folder, read_rows, write_json
from testbed.record.noderecord import BoardFacts
from testbed.record.reader import read_cell, read_document
from testbed.record.schema import SCHEMA_VERSION, NetworkRow, TimestepRow
from testbed.record.tables import arrow_schema, read_table, write_table
from tests.made import records


def row(t_ns: int) -> PowerRow:
    return PowerRow(node="edge", source="s", rail="r", scope="emulated", t_ns=t_ns, mw=1.5)


def test_rows_of_a_killed_process_are_all_there(tmp_path):
    script = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from devices.base.rowlog import RowLog\n"
        "from devices.base.power import PowerRow\n"
        "log = RowLog(Path(sys.argv[1]))\n"
        "for t in range(50):\n"
        "    log.append(PowerRow(node='edge', source='s', rail='r', scope='emulated', t_ns=t, mw=1.5))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "rows")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [item.t_ns for item in read_rows(tmp_path / "rows", PowerRow)] == list(range(50))


def test_a_line_cut_short_is_dropped_and_a_wrong_line_is_an_error(tmp_path):
    path = tmp_path / "rows"
    with RowLog(path) as log:
        log.append(row(1), row(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [item.t_ns for item in read_rows(path, PowerRow)] == [1]
    path.write_bytes(b'{"node": 3}\n' + whole)
    with pytest.raises(RecordError, match=r"rows:1: not a PowerRow"):
        list(read_rows(path, PowerRow))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file():
    with RowLog(Path("/dev/full")) as log, pytest.raises(DeviceError, match="/dev/full: cannot be written"):
        log.append(row(1))


def test_tables_keep_every_value_and_none_stays_none(tmp_path):
    import pandas as pd

    rows = [
        TimestepRow(
            request_id=n, node="board", repeat=0, timestep=n, logits=[0.5, -1.0], confidence=0.25,
            code_spikes=None if n else 3, code_bits=64, payload_bytes=8,
            t_send_ns=2**62 + n, t_reply_ns=None, cloud_compute_ms=None,
        )
        for n in range(3)
    ]  # fmt: skip
    with RowLog(tmp_path / "rows") as log:
        log.append(*rows)
    assert write_table(tmp_path / "t.parquet", TimestepRow, [tmp_path / "rows"]) == 3
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert list(table["logits"][1]) == [0.5, -1.0]
    assert table["code_spikes"].isna().tolist() == [False, True, True]
    assert int(table["t_send_ns"][2]) == 2**62 + 2


def test_documents_are_replaced_whole(tmp_path):
    status = records.status(reasons=["because"])
    write_json(tmp_path / "status.json", status)
    assert read_document(tmp_path / "status.json", Status) == status
    assert os.listdir(tmp_path) == ["status.json"]


LOGITS = arrays(np.float64, (4, 3, 5), elements=st.floats(-30, 30))


@given(LOGITS, st.sampled_from(["max_softmax", "entropy", "margin"]))
def test_confidence_is_a_share_and_does_not_see_a_shift_of_all_logits(logits, policy):
    sure = confidence(logits, policy)
    assert sure.shape == logits.shape[:-1]
    assert ((sure >= -1e-9) & (sure <= 1 + 1e-9)).all()
    np.testing.assert_allclose(confidence(logits + 7.0, policy), sure, atol=1e-9)


def test_a_one_hot_output_is_certain_and_a_flat_one_is_not():
    for policy, flat in (("max_softmax", 0.1), ("entropy", 0.0), ("margin", 0.0)):
        assert confidence(np.eye(10)[0] * 1000, policy) == pytest.approx(1.0)
        assert confidence(np.zeros(10), policy) == pytest.approx(flat)


@given(LOGITS)
def test_sums_are_means_times_the_number_of_timesteps(logits):
    steps = np.arange(1, 5).reshape(4, 1, 1)
    np.testing.assert_allclose(accumulate(logits, "sum"), accumulate(logits, "mean") * steps, atol=1e-9)


def test_exit_is_the_first_timestep_that_is_sure_enough_or_the_last():
    confidences = np.array([[0.5, 0.95, 0.2], [0.9, 0.1, 0.3], [0.99, 0.99, 0.4]])
    assert exit_timestep(confidences, 0.9).tolist() == [2, 1, 3]


def test_a_manifest_comes_back_as_it_went(tmp_path):
    board = records.node(records.profile("board", "emulated", [records.EMULATED_POWER]), repeats=2)
    written = records.manifest([board, records.node(records.profile("server", "host"), "cloud")])
    write_json(tmp_path / "manifest.json", written)
    assert read_cell(tmp_path).manifest == written


def test_two_edges_are_two_participants_of_one_role():
    nodes = [records.node(records.profile(name)) for name in ("second", "first")]
    written = records.manifest([*nodes, records.node(records.profile("server", "host"), "cloud")])
    assert [node.id for node in written.role("edge")] == ["first", "second"]
    assert [node.id for node in written.role("cloud")] == ["server"]


def test_what_a_verdict_rests_on_is_taken_out_of_a_boards_facts():
    identified = {"boot_id": "a", "throttle": {"oc1": 3}, "hostname": "board", "absent": ["temperature_c"]}
    facts = BoardFacts.of(identified)
    assert (facts.boot_id, facts.throttle, facts.temperature_c) == ("a", {"oc1": 3}, {})
    assert facts.others == {"hostname": "board", "absent": ["temperature_c"]}


def test_results_of_another_schema_are_refused_in_one_line_that_says_what_to_do(tmp_path):
    path = tmp_path / "manifest.json"
    write_json(path, {"schema": SCHEMA_VERSION - 1, "nodes": {"edge": {"name": "board"}}})
    with pytest.raises(RecordError) as told:
        read_cell(tmp_path)
    assert str(told.value) == (
        f"{path}: recorded with schema {SCHEMA_VERSION - 1}, this testbed reads {SCHEMA_VERSION}; read these results "
        "with the testbed that measured them (code.commit in manifest.json), or measure again"
    )


def test_a_field_that_no_document_has_is_refused(tmp_path):
    write_json(tmp_path / "manifest.json", {**msgspec.to_builtins(records.manifest()), "more": 1})
    with pytest.raises(RecordError, match="unknown field `more`"):
        read_document(tmp_path / "manifest.json", Manifest)


def test_a_table_from_before_a_column_was_added_has_it_empty(tmp_path: Path) -> None:
    kept = [name for name in arrow_schema(NetworkRow).names if name != "cwnd"]
    row = NetworkRow(node="board", t_ns=1, interface="data", tx_bytes=2, rx_bytes=3, rtt_ms=0.5, retransmits=0, cwnd=9)
    with RowLog(tmp_path / "network.jsonl") as log:
        log.append(row)
    write_table(tmp_path / "new.parquet", NetworkRow, [log.path])
    new = read_table(tmp_path / "new.parquet", NetworkRow)
    assert new.to_pylist() == [msgspec.structs.asdict(row)]
    pq.write_table(new.select(kept), tmp_path / "old.parquet", write_page_checksum=True)
    assert read_table(tmp_path / "old.parquet", NetworkRow).to_pylist() == [
        msgspec.structs.asdict(row) | {"cwnd": None}
    ]
    for name in ("tx_bytes", "rtt_ms"):  # both were always there; None is a value of the second
        pq.write_table(new.select([each for each in kept if each != name]), tmp_path / "torn.parquet")
        with pytest.raises(RecordError, match="columns are not those of schema"):
            read_table(tmp_path / "torn.parquet", NetworkRow)


def test_a_folder_that_is_to_lie_behind_a_link_that_leads_nowhere_is_one_line(tmp_path):
    link = tmp_path / "models"
    link.symlink_to(tmp_path / "unplugged")
    for write in (lambda: make_folder(link / "toy"), lambda: write_json(link / "toy" / "a.json", {})):
        with pytest.raises(DiskError) as refused:
            write()
        text = str(refused.value)
        assert f"{link} is a link to {tmp_path / 'unplugged'}, which is not there; mount or make it" in text
        assert "\n" not in text


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(DiskError, match=r"models/toy: cannot be written: Not a directory; make room or choose another"):
        make_folder(tmp_path / "models" / "toy")


def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may everything
    with pytest.raises(DiskError, match=r"models: cannot be written: Permission denied; make room or choose another"):
        make_folder(tmp_path / "models")
