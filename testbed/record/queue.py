"""What arrived at an edge, and how it kept up: offered load, throughput, and the queue in between.

The edge answers one request after the other. A request keeps it busy from its begin to its end, and where the next one
is waiting already, until that one begins: what lies between two requests is the edge's work too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from testbed.record.reader import Cell


@dataclass(frozen=True)
class Load:
    """The requests of one edge in one repeat.

    Attributes:
        edge, repeat: which.
        requests: how many arrived.
        answered: how many of them were.
        arriving_s: from the first arrival to the last.
        lasting_s: from the first arrival to the last end.
        busy_s: how long they kept the edge busy.
        waiting: how many had not ended when the last one arrived, that one left out.
    """

    edge: str
    repeat: int
    requests: int
    answered: int
    arriving_s: float
    lasting_s: float
    busy_s: float
    waiting: int

    @property
    def offered_qps(self) -> float | None:
        """Requests that arrived in a second; None where they all arrived at once."""
        return None if self.arriving_s <= 0 else (self.requests - 1) / self.arriving_s

    @property
    def throughput_qps(self) -> float:
        """Requests that were answered in a second."""
        return self.answered / self.lasting_s

    @property
    def utilisation(self) -> float | None:
        """Mean time that a request keeps the edge busy over the mean time between two arrivals.

        From 1 on the queue grows for as long as requests arrive.
        """
        offered = self.offered_qps
        return None if offered is None else self.busy_s / self.requests * offered


def loads(cell: Cell) -> Iterator[Load]:
    """The load of each edge in each repeat, in their order; an edge that was begun anew goes on with its requests."""
    columns = ["node", "repeat", "outcome", "t_arrival_ns", "t_start_ns", "t_end_ns"]
    grouped: Any = cell.requests[columns].groupby(["node", "repeat"], sort=True)
    for (edge, repeat), rows in grouped:
        start, end = (np.sort(rows[name].to_numpy(np.int64)) for name in ("t_start_ns", "t_end_ns"))
        # In single_stream a request arrives when it begins.
        arrival = np.sort(rows["t_arrival_ns"].fillna(rows["t_start_ns"]).to_numpy(np.int64))
        until = np.append(np.where(arrival[1:] <= end[:-1], start[1:], end[:-1]), end[-1])
        yield Load(
            edge=str(edge),
            repeat=int(repeat),
            requests=len(rows),
            answered=int((rows["outcome"] == "ok").sum()),
            arriving_s=float(arrival[-1] - arrival[0]) / 1e9,
            lasting_s=float(end[-1] - arrival[0]) / 1e9,
            busy_s=float((until - start).sum()) / 1e9,
            waiting=int((end[:-1] > arrival[-1]).sum()),
        )


def throughput_qps(cell: Cell) -> dict[int, float]:
    """Requests that all edges together answered in a second, by repeat."""
    found: dict[int, float] = defaultdict(float)
    for load in loads(cell):
        found[load.repeat] += load.throughput_qps
    return dict(found)
