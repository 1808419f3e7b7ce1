"""Gates on faults: those that were asked for happened, and were undone."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.reader import Cell


def not_played(cell: Cell) -> Iterator[str]:
    """A fault that was asked for did not happen, or was not undone, before the requests were over."""
    asked = [fault.fault for fault in cell.manifest.config.faults]
    for repeat in range(cell.manifest.repeats if asked else 0):
        played = cell.manifest.faults.get(str(repeat), [])
        left = list(asked)
        for record in played:
            left.remove(record.fault)
            if record.until_ns is None:
                yield f"repeat {repeat}: {record.fault} was not undone before the repeat ended"
        for fault in left:
            yield f"repeat {repeat}: {fault} did not happen, the requests were over before its time; raise requests"
