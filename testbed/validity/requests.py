"""Gates on requests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.reader import Cell

MAX_FAILED_SHARE = 0.01
"""Share of requests without an answer above which latency and energy describe something else."""


def unanswered(cell: Cell) -> Iterator[str]:
    """Too many requests were not answered."""
    failed = (cell.requests["outcome"] != "ok").mean()
    if failed > MAX_FAILED_SHARE:
        yield f"{failed:.1%} of the requests were not answered (limit {MAX_FAILED_SHARE:.0%})"
