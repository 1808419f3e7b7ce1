"""Rows that are appended are on disk, and nowhere else."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import msgspec

from devices.base.rowlog import RowLog


class Row(msgspec.Struct):
    """Something to record."""

    number: int
    text: str


def test_rows_that_are_written_leave_nothing_in_memory(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "rows.jsonl")
    row = Row(0, "a")
    log.append(row)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(1000):
        log.append(row)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    assert log.path.read_bytes() == b'{"number":0,"text":"a"}\n' * 1001
    assert after - before < 10_000
