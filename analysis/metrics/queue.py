"""What arrives at the edges of a server, how busy that keeps them, and how long requests wait for their turn.

Offered is how many really arrived in a second, all edges together. Utilisation is the mean time that a request keeps
its edge busy over the mean time between two arrivals. It is that of the busiest edge and repeat. From 1 on the queue
grows without end. The queue's share is the mean wait over the mean latency of answered requests. Blank but for the
waits in `offline`, and all blank in `single_stream`, where nothing waits.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import number, significant
from testbed.record.queue import loads


@dataclass(frozen=True)
class Queue:
    """Requests per second that arrived and the edge's utilisation, None in `offline`; the mean wait of a request."""

    offered_qps: float | None
    utilisation: float | None
    wait_ms: float
    share: float


def queue(one: Measured) -> Queue | None:
    """How requests waited; None where none does."""
    kind = one.cell.manifest.config.scenario.kind
    if kind == "single_stream":
        return None
    rows, alike = one.answered, one.alike_answered
    wait_ms = alike.mean(rows["queue_ms"])
    share = wait_ms / alike.mean(rows["latency_ms"])
    if kind == "offline":
        return Queue(None, None, wait_ms, share)
    offered: dict[int, float] = defaultdict(float)
    used = []
    for load in loads(one.cell):
        offered[load.repeat] += load.offered_qps or math.nan
        used.append(load.utilisation or math.nan)
    return Queue(math.fsum(offered.values()) / len(offered), max(used), wait_ms, share)


def _details(found: Queue) -> list[Line]:
    wait = f"{significant(found.wait_ms)} ms in the mean, {100 * found.share:.0f}% of the latency"
    if found.offered_qps is None or found.utilisation is None:
        return [("wait for their turn", wait)]
    load = (
        f"{significant(found.offered_qps)} requests per second, which take {100 * found.utilisation:.0f}% of the edge"
    )
    return [("offered load", load), ("wait for their turn", wait)]


def _percent(value: float | None) -> str:
    return "" if value is None else number(100 * value, 0)


METRIC: Metric[Queue] = Metric(
    name="queue",
    term="queue",
    doc=__doc__,
    of=queue,
    columns=(
        Column("offered_qps", "1/s", lambda found: found.offered_qps),
        Column("utilisation", "fraction", lambda found: found.utilisation),
        Column("queue_mean_ms", "ms", lambda found: found.wait_ms),
        Column("queue_share", "fraction", lambda found: found.share),
    ),
    headings=(
        Heading("edge busy [%]", lambda found: _percent(found.utilisation), only=lambda _: True),
        Heading("queue [% of latency]", lambda found: number(100 * found.share, 0), only=lambda _: True),
    ),
    details=_details,
)
