"""Requests that wait for their turn, if they had taken another time: Lindley's recursion over the recorded arrivals.

A request begins when it has arrived and the one before is over, `begin[n] = max(arrival[n], end[n-1] + pause)`. It ends
`took[n]` later (Lindley, "The theory of queues with a single server", 1952). Arrivals do not depend on what becomes of
requests. The pause is what the edge needed between two requests that followed on each other.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.replay.decide import KEYS, Floats

NS_PER_MS = 1e6


def latency_from_arrival_ms(rows: pd.DataFrame, took_ms: Floats, *, all_at_once: bool) -> Floats:
    """Latency of requests that would have taken so long, from their arrival.

    Args:
        rows: every request of a cell, in the order of `KEYS`, which within an edge and repeat is that of time.
        took_ms: [N], from begin to end.
        all_at_once: whether a pass over the samples arrives when the one before is over (`offline`).
    """
    found = np.empty(len(rows))
    columns = (rows[name].to_numpy(np.int64) for name in ("t_arrival_ns", "t_start_ns", "t_end_ns"))
    arrived, started, ended = columns
    took_ns = took_ms * NS_PER_MS
    for mine in rows.groupby(KEYS[:2], sort=False).indices.values():
        waited = arrived[mine[1:]] <= ended[mine[:-1]]
        pauses = (started[mine[1:]] - ended[mine[:-1]])[waited]
        usual_ns = float(np.median(pauses)) if len(pauses) else 0.0
        arrival_ns = over_ns = -np.inf
        for place, now in enumerate(mine):
            before = mine[place - 1]
            if place == 0 or not all_at_once:
                arrival_ns = float(arrived[now])
            elif arrived[now] != arrived[before]:
                arrival_ns = over_ns + float(arrived[now] - ended[before])
            queued = place > 0 and bool(waited[place - 1])
            pause_ns = float(started[now] - ended[before]) if queued else usual_ns
            late_ns = 0.0 if queued else float(started[now] - arrived[now])
            over_ns = max(arrival_ns + late_ns, over_ns + pause_ns) + took_ns[now]
            found[now] = (over_ns - arrival_ns) / NS_PER_MS
    return found
