"""Gates on what was recorded of the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from testbed.record.power import repeats, window
from testbed.record.reader import Cell

MAX_GAP_MS = 1000
"""Longest pause between two readings of an edge's interface while requests run: twenty of them. Who records in a thread
beside the requests is held up that long only on a node that had too much else to do."""


def gaps(cell: Cell) -> Iterator[str]:
    """An edge that sends did not record its network for a while.

    Interfaces are asked about, and not the data connection: that has no counters while it is down.
    """
    if cell.manifest.sends == "nothing":
        return
    rows = cell.network[cell.network["interface"].str.startswith("if:")]
    for node in cell.manifest.role("edge"):
        read_ns = np.sort(rows.loc[rows["node"] == node.id, "t_ns"].to_numpy(np.int64))
        for repeat in repeats(cell):
            if any(fault.fault == "edge_killed" for fault in cell.manifest.faults.get(str(repeat), [])):
                continue  # it records nothing before it is there again, as was asked for
            around = window(cell, node, repeat)
            inside = read_ns[(read_ns > around.start_ns) & (read_ns < around.end_ns)]
            gap_ms = np.diff([around.start_ns, *inside, around.end_ns]).max() / 1e6
            if gap_ms > MAX_GAP_MS:
                yield (
                    f"{node.id}, repeat {repeat}: {gap_ms:.0f} ms without a reading of its network interface "
                    f"(limit {MAX_GAP_MS} ms)"
                )
