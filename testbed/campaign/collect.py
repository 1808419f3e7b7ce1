"""What the nodes recorded becomes a cell's tables and its status; from the disk alone, whoever measured and when."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from testbed.errors import DiskError, RecordError
from testbed.record.documents import AttemptRecord, FailureRecord, Manifest, State, Status
from testbed.record.late import LATE, InVain, LateRow, in_vain, with_late
from testbed.record.layout import AttemptFolder, CellFolder
from testbed.record.log import read_rows, write_atomically, write_json
from testbed.record.reader import look_over, read_cell, read_document
from testbed.record.resent import RESENT, STREAMS, Again, Request, ResentRow, StreamRow, sent_again, with_resent
from testbed.record.schema import SCHEMA_VERSION, ClockRecord, RequestRow
from testbed.record.tables import TABLES, write_table
from testbed.validity import reasons


@dataclass(frozen=True)
class Repeat:
    """How far a repeat is.

    `folder` is the attempt that measured all of it, else the latest one that recorded anything; None before there is
    one. `record` is what the complete attempt says, and `failure` why the latest attempt failed where none is complete.
    """

    number: int
    folder: AttemptFolder | None = None
    record: AttemptRecord | None = None
    failure: str | None = None


def look(folder: CellFolder, repeats: int) -> list[Repeat]:
    """How far each repeat of a cell is.

    Raises:
        RecordError: a document of an attempt is damaged, or of another schema.
    """
    return [_repeat(folder, number) for number in range(repeats)]


def collect_cell(folder: CellFolder) -> Status:
    """Gather the rows of a cell that was begun into its tables, judge it, and write its status last.

    Raises:
        RecordError: what was recorded is damaged.
    """
    manifest = read_document(folder.manifest, Manifest)
    found = look(folder, manifest.repeats)
    shown = [repeat.folder for repeat in found if repeat.folder is not None]
    again, late = _sent_again(shown), _late(shown)

    def whole(rows: Iterable[RequestRow]) -> Iterator[RequestRow]:
        return with_late(with_resent(rows, again), late)

    for table, row_type in TABLES.items():
        rows = [log for attempt in shown for log in attempt.all_rows(table)]
        if row_type is RequestRow:
            write_table(folder.table(table), RequestRow, rows, whole)
        else:
            write_table(folder.table(table), row_type, rows)
    logs = [log for attempt in shown for log in attempt.all_rows("events")]
    write_atomically(folder.events, b"".join(map(_whole_lines, logs)))
    write_json(folder.clock, _clock(found))
    write_json(folder.manifest, with_facts(manifest, found))
    status = _status(folder, found)
    write_json(folder.status, status)
    return status


def give_up(folder: CellFolder, repeats: int, why: list[str]) -> Status:
    """The status of a cell whose tables cannot be made; on the disk, if that takes it."""
    try:
        done = [repeat.number for repeat in look(folder, repeats) if repeat.record is not None]
    except RecordError:
        done = []
    status = Status(schema=SCHEMA_VERSION, state="failed", valid=None, reasons=why, repeats_done=done)
    try:
        write_json(folder.status, status)
    except DiskError:
        with contextlib.suppress(DiskError, OSError):
            # Tables are copies of raw/, and some were just begun: without them there may be room for the status.
            for table in TABLES:
                folder.table(table).unlink(missing_ok=True)
            write_json(folder.status, status)
    return status


def is_whole(folder: CellFolder) -> bool:
    """Whether a cell was collected to its end, and every piece of it is there and sound."""
    try:
        cell = look_over(read_cell(folder.path))
    except RecordError:
        return False
    return cell.complete and not cell.damage


def with_facts(manifest: Manifest, found: Sequence[Repeat]) -> Manifest:
    """The manifest with what its nodes said of themselves in the repeats that were measured."""
    told = {repeat.number: repeat.record.nodes for repeat in found if repeat.record is not None}
    nodes = {
        name: msgspec.structs.replace(node, repeats={str(n): nodes[name] for n, nodes in told.items() if name in nodes})
        for name, node in manifest.nodes.items()
    }
    faults = {str(repeat.number): repeat.record.faults for repeat in found if repeat.record and repeat.record.faults}
    return msgspec.structs.replace(manifest, nodes=nodes, faults=faults)


def _repeat(folder: CellFolder, number: int) -> Repeat:
    attempts = folder.attempts(number)
    failure: str | None = None
    for attempt in attempts:
        failure = None
        if attempt.record.exists():
            record = read_document(attempt.record, AttemptRecord)
            failure = _shortfall(attempt, record)
            if failure is None:
                return Repeat(number, attempt, record)
        elif attempt.failure.exists():
            failure = read_document(attempt.failure, FailureRecord).message
    # A try that reached no node has nothing to show; an earlier one may have.
    begun = [attempt for attempt in attempts if attempt.all_rows("events")]
    return Repeat(number, begun[-1] if begun else None, failure=failure)


def _shortfall(attempt: AttemptFolder, record: AttemptRecord) -> str | None:
    """Which rows an attempt says it measured and has not on disk."""
    for node, measured in sorted(record.requests.items()):
        rows = attempt.rows(node, "requests")
        kept = rows.read_bytes().count(b"\n") if rows.exists() else 0
        if kept != measured:
            return f"{node} measured {measured} requests, and {rows} holds {kept}; testbed run measures again"
    for node, told in sorted(record.nodes.items()):
        for table, written in sorted(told.finished.written.items()):
            log = attempt.rows(node, table)
            size = log.stat().st_size if log.is_file() else 0
            if size != written:
                return f"{node} recorded {written} bytes in {log}, which has {size}; testbed run measures again"
    return None


def _sent_again(shown: Sequence[AttemptFolder]) -> dict[Request, Again]:
    """What the shaper sent again of each request's bytes; another repeat may have the same port again."""
    found: dict[Request, Again] = {}
    for attempt in shown:
        streams = (row for log in attempt.all_rows(STREAMS) for row in read_rows(log, StreamRow))
        resent = (row for log in attempt.all_rows(RESENT) for row in read_rows(log, ResentRow))
        found |= sent_again(streams, resent)
    return found


def _late(shown: Sequence[AttemptFolder]) -> dict[Request, InVain]:
    """What came for requests that had ended."""
    return in_vain(row for attempt in shown for log in attempt.all_rows(LATE) for row in read_rows(log, LateRow))


def _clock(found: Iterable[Repeat]) -> ClockRecord:
    records = [repeat.record for repeat in found if repeat.record is not None]
    return ClockRecord(
        estimates=[estimate for record in records for estimate in record.clock.estimates],
        lines=[line for record in records for line in record.clock.lines],
    )


def _status(folder: CellFolder, found: list[Repeat]) -> Status:
    done = [repeat.number for repeat in found if repeat.record is not None]
    failures = [f"repeat {repeat.number}: {repeat.failure}" for repeat in found if repeat.failure is not None]
    state: State
    valid: bool | None = None
    if failures:
        state, why = "failed", failures
    elif len(done) < len(found):
        state, why = "aborted", [f"{len(done)} of {len(found)} repeats were measured"]
    else:
        state, why = "complete", reasons(read_cell(folder.path))
        valid = not why
    return Status(schema=SCHEMA_VERSION, state=state, valid=valid, reasons=why, repeats_done=done)


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]
