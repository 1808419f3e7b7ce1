"""Cells as a campaign leaves them on disk before they are collected, made without any process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devices.base.rowlog import RowLog
from testbed.record.documents import AttemptRecord, CellDocument, FailureRecord
from testbed.record.layout import AttemptFolder, CellFolder
from testbed.record.log import write_json
from testbed.record.noderecord import NodeRecord
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockLine, ClockRecord, EventRow
from tests.made import records

MS = 1_000_000
EDGES = ("board",)


def begun(folder: Path, repeats: int = 2, nodes: Iterable[NodeRecord] | None = None, **changes: Any) -> CellFolder:
    """A cell of two unmetered nodes that has a manifest and nothing else."""
    cell = CellFolder(folder)
    write_json(cell.manifest, records.manifest(nodes, repeats=repeats, **changes))
    return cell


def tried(cell: CellFolder, repeat: int, *, requests: int = 3, edges: Iterable[str] = EDGES) -> AttemptFolder:
    """A try at a repeat of which nothing but its rows is there: it was interrupted, or is still under way."""
    attempt = cell.next_attempt(repeat)
    for node in edges:
        with RowLog(attempt.rows(node, "requests")) as rows, RowLog(attempt.rows(node, "timesteps")) as steps:
            for number in range(requests):
                rows.append(records.request(request_id=number, node=node, repeat=repeat))
                steps.append(records.timestep(request_id=number, node=node, repeat=repeat))
        with RowLog(attempt.rows(node, "events")) as events:
            events.append(EventRow(node=node, t_ns=repeat, repeat=repeat, event="phase", detail={"phase": "measure"}))
    return attempt


def measured(
    cell: CellFolder,
    repeat: int,
    *,
    requests: int = 3,
    seconds: float = 1.0,
    nodes: Iterable[str] = ("board", "server"),
    edges: Iterable[str] = EDGES,
) -> AttemptFolder:
    """A try at a repeat that measured all of it."""
    attempt = tried(cell, repeat, requests=requests, edges=edges)
    said = AttemptRecord(
        schema=SCHEMA_VERSION,
        seconds=seconds,
        requests=dict.fromkeys(edges, requests),
        min_duration_s=0.0,
        idle_s=2.0,
        clock=_clock(nodes, repeat),
        nodes={node: records.node_repeat() for node in nodes},
    )
    write_json(attempt.record, said)
    return attempt


def failed(cell: CellFolder, repeat: int, message: str) -> AttemptFolder:
    """A try at a repeat that failed after two requests."""
    attempt = tried(cell, repeat, requests=2)
    write_json(attempt.failure, failure(message))
    return attempt


def config(position: int) -> CellDocument:
    """The configuration of the cell at a place in its experiment."""
    return records.config(position=position)


def failure(message: str) -> FailureRecord:
    """Why an attempt failed."""
    return FailureRecord(schema=SCHEMA_VERSION, t="2025-03-04T10:00:00+00:00", kind="WorkerError", message=message)


def _clock(nodes: Iterable[str], repeat: int) -> ClockRecord:
    return ClockRecord(
        estimates=[
            ClockEstimate(
                node=node, repeat=repeat, when="before", t_ns=0, offset_ns=0, bound_ns=1, rtt_ns=2, exchanges=8
            )
            for node in nodes
        ],
        lines=[
            ClockLine(
                node=node,
                repeat=repeat,
                t_ns=0,
                offset_ns=0,
                bound_ns=1,
                skew_ppm=0.0,
                skew_bound_ppm=1.0,
                straight=True,
            )
            for node in nodes
        ],
    )
