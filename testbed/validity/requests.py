"""Gates on requests."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.queue import loads
from testbed.record.reader import Cell
from testbed.record.scenario import SERVER_PERCENT

MAX_FAILED_SHARE = 0.01
"""Share of requests without an answer above which latency and energy describe something else. It is also the share that
MLPerf's Server may have beyond its bound."""

MAX_UTILISATION = 1.0
"""Of an edge at which requests arrive at random. From there on its queue grows for as long as they do, and a latency
says how long was measured."""


def unanswered(cell: Cell) -> Iterator[str]:
    """Too many requests were not answered, and no fault was asked for that explains it."""
    if cell.manifest.config.faults:
        return
    failed = (cell.requests["outcome"] != "ok").mean()
    if failed > MAX_FAILED_SHARE:
        scenario = cell.manifest.config.scenario
        within = ""
        if scenario.kind == "server" and scenario.deadline_ms is not None:
            within = (
                f" within {scenario.deadline_ms} ms of their arrival, as {SERVER_PERCENT}% of a server's have to be"
            )
        yield f"{failed:.1%} of the requests were not answered{within} (limit {MAX_FAILED_SHARE:.0%})"


def saturated(cell: Cell) -> Iterator[str]:
    """Requests arrived faster than an edge could answer them."""
    if cell.manifest.config.scenario.kind != "server":
        return
    for load in loads(cell):
        offered, used = load.offered_qps, load.utilisation
        if offered is not None and used is not None and used >= MAX_UTILISATION:
            yield (
                f"{load.edge}, repeat {load.repeat}: saturated: {offered:.3g} requests arrive in a second and need "
                f"{used:.2f} s of the edge (limit {MAX_UTILISATION:g} s); when the last of {load.requests} arrived, "
                f"{load.waiting} were not done"
            )
