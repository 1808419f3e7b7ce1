"""Whether a measured cell can be believed: gates on what was recorded, each failure with its number and limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from testbed.record.reader import Cell

MAX_FAILED_SHARE = 0.01
"""Share of requests without an answer above which latency and energy describe something else."""

MAX_GAP_PERIODS = 5.0
"""Longest pause between two power samples of a rail, in sampling periods."""

MIN_SAMPLES = 20
"""Power samples per repeat under which a trapezoid over the window is too coarse."""

MAX_BASELINE_DRIFT = 0.05
"""Relative difference of the idle power before and after a repeat."""


def reasons(cell: Cell) -> list[str]:
    """Why a complete cell is invalid; empty if it is valid."""
    return [*_failed_requests(cell), *_power(cell), *_reboots(cell)]


def _failed_requests(cell: Cell) -> Iterator[str]:
    failed = (cell.requests["outcome"] != "ok").mean()
    if failed > MAX_FAILED_SHARE:
        yield f"{failed:.1%} of the requests were not answered (limit {MAX_FAILED_SHARE:.0%})"


def _power(cell: Cell) -> Iterator[str]:
    edge = cell.manifest.nodes["edge"]
    rates = {spec["source"]: float(spec["rate_hz"]) for spec in edge["profile"]["power"]}
    samples = cell.power[cell.power["node"] == edge["name"]]
    for (source, rail), rows in samples.groupby(["source", "rail"]):
        t_ns, mw = rows["t_ns"].to_numpy(), rows["mw"].to_numpy()
        order = np.argsort(t_ns)
        t_ns, mw = t_ns[order], mw[order]
        limit_ms = MAX_GAP_PERIODS * 1000 / rates[str(source)]
        for repeat, window in cell.requests.groupby("repeat"):
            start, end = int(window["t_start_ns"].min()), int(window["t_end_ns"].max())
            inside = t_ns[(t_ns >= start) & (t_ns <= end)]
            where = f"{source} {rail}, repeat {repeat}"
            if len(inside) < MIN_SAMPLES:
                yield f"{where}: {len(inside)} power samples while measuring (limit {MIN_SAMPLES})"
                continue
            gap_ms = np.diff(inside).max() / 1e6
            if gap_ms > limit_ms:
                yield f"{where}: {gap_ms:.0f} ms without a power sample (limit {limit_ms:.0f} ms)"
            phases = {
                event.detail["phase"]: event.t_ns
                for event in cell.events
                if event.event == "phase" and event.repeat == repeat and event.node == edge["name"]
            }
            before = mw[(t_ns >= phases["idle_before"]) & (t_ns < phases["measure"])]
            after = mw[(t_ns >= phases["idle_after"]) & (t_ns < phases["end"])]
            if len(before) < 2 or len(after) < 2:
                yield f"{where}: {len(before)} and {len(after)} power samples of the idle baselines (limit 2 each)"
            elif (drift := abs(after.mean() / before.mean() - 1)) > MAX_BASELINE_DRIFT:
                yield f"{where}: idle baselines {drift:.1%} apart (limit {MAX_BASELINE_DRIFT:.0%})"


def _reboots(cell: Cell) -> Iterator[str]:
    for role, node in cell.manifest.nodes.items():
        boots = {facts["hello"]["facts"].get("boot_id") for facts in node.get("repeats", {}).values()}
        if len(boots) > 1:
            yield f"{role} {node['name']} was rebooted between repeats"
