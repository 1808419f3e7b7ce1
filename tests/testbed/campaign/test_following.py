"""The rows of an attempt are followed while a node still appends to them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from testbed.campaign.following import Tail
from testbed.record.schema import EventRow

ROWS = [EventRow(node="board", repeat=0, t_ns=number, event="phase", detail={}) for number in range(3)]


def test_a_row_is_given_once_and_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    tail = Tail(log, EventRow)
    assert tail.new() == []  # it is not there yet
    first, second, third = (msgspec.json.encode(row) + b"\n" for row in ROWS)
    log.write_bytes(first + second[:9])
    assert tail.new() == ROWS[:1]
    log.write_bytes(first + second + third)
    assert tail.new() == ROWS[1:]
    assert tail.new() == []


def test_a_damaged_row_does_not_end_the_watching(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    tail = Tail(log, EventRow)
    log.write_bytes(b"{torn\n")
    assert tail.new() == []
    log.write_bytes(b"{torn\n" + msgspec.json.encode(ROWS[0]) + b"\n")
    assert tail.new() == ROWS[:1]
