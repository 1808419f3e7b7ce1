"""Whether a measured cell can be believed: gates on what was recorded, each failure with its number and limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from devices.base.power import widest
from testbed.errors import RecordError
from testbed.link.clock import MAX_SKEW_PPM
from testbed.record.documents import BoardFacts, NodeRecord
from testbed.record.metering import MIN_READINGS, Sensor, sensor
from testbed.record.reader import Cell

MAX_FAILED_SHARE = 0.01
"""Share of requests without an answer above which latency and energy describe something else."""

MAX_GAP_PERIODS = 5.0
"""Longest pause between two power samples of a rail, in sampling periods."""

MAX_SAME_READINGS = 50
"""Independent readings of one rail in a row that may be the same. Only where the rail's step is small
(`SMALL_LSB`): the noise of a board then moves each reading, and a sensor that repeats itself no longer reads."""

SMALL_LSB = 0.01
"""A step is small if it is at most this share of the mean power."""

MAX_BASELINE_DRIFT = 0.05
"""Relative difference of the idle power before and after a repeat."""

MAX_SOURCES_APART = 0.05
"""Relative difference of two sources that measure the same."""

ONE_MODULE = frozenset({"nvml", "rapl"})
"""Sources whose module is one card or the processors of a host: beside each other they meter different things."""

THROTTLE_STATES = ("cur_state", "crit_alarm")
"""Ends of the names of throttle facts that say what is now; the others count what happened."""

MAX_HEATING_C = 5.0
"""How much warmer a zone may be at the end of a repeat than at its start, in °C: both are at rest, so what is left is
the board's heat, and with it leakage and fan, that were still rising while it was measured."""

MAX_WALL_STEP_MS = 1.0
"""Change of a node's wall clock against its monotonic one. The reading is good to microseconds, and slewing moves both
clocks alike."""


@dataclass(frozen=True)
class _Source:
    """What one source recorded of a node in one repeat: its rails of the widest scope, and the measured span."""

    where: str
    scope: str
    sensor: Sensor
    period_ms: float
    rails: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    start_ns: int
    end_ns: int
    idle: Mapping[str, tuple[int, int]]

    def inside(self, rail: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Samples of a rail while measuring."""
        return self.between(rail, self.start_ns, self.end_ns)

    def between(self, rail: str, start_ns: int, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Samples of a rail in a span."""
        t_ns, mw = self.rails[rail]
        chosen = (t_ns >= start_ns) & (t_ns <= end_ns)
        return t_ns[chosen], mw[chosen]


def reasons(cell: Cell) -> list[str]:
    """Why a complete cell is invalid; empty if it is valid."""
    found = [*_failed_requests(cell)]
    try:
        found += _metering(cell)
    except RecordError as error:
        found.append(str(error))
    return [*found, *_throttled(cell), *_heating(cell), *_clocks(cell), *_reboots(cell)]


def _failed_requests(cell: Cell) -> Iterator[str]:
    failed = (cell.requests["outcome"] != "ok").mean()
    if failed > MAX_FAILED_SHARE:
        yield f"{failed:.1%} of the requests were not answered (limit {MAX_FAILED_SHARE:.0%})"


def _metering(cell: Cell) -> Iterator[str]:
    for node in cell.manifest.nodes.values():
        for repeat in sorted(cell.requests["repeat"].unique()):
            found = list(_sources(cell, node, int(repeat)))
            for source in found:
                for rail in source.rails:
                    yield from _sampling(source, rail)
                yield from _baselines(source)
            for one, other in combinations(found, 2):
                yield from _apart(one, other)


def _sources(cell: Cell, node: NodeRecord, repeat: int) -> Iterator[_Source]:
    """The sources of a node that takes part in the cell."""
    if node.role == "cloud" and cell.manifest.sends == "nothing":
        return
    marks = {
        event.detail["phase"]: event.t_ns
        for event in cell.events
        if event.event == "phase" and event.repeat == repeat and event.node == node.id
    }
    for spec in node.profile.power:
        name = spec.source
        rows = cell.power[(cell.power["node"] == node.id) & (cell.power["source"] == name)]
        where = f"{node.id}: {name}, repeat {repeat}"
        if rows.empty:
            raise RecordError(f"{where}: no power samples")
        scope = widest(set(rows["scope"]))
        rails = {}
        for rail, samples in rows[rows["scope"] == scope].sort_values("t_ns").groupby("rail"):
            rails[str(rail)] = (samples["t_ns"].to_numpy(np.int64), samples["mw"].to_numpy(np.float64))
        idle = {}
        if node.role == "edge":
            window = cell.requests[(cell.requests["repeat"] == repeat) & (cell.requests["node"] == node.id)]
            start_ns, end_ns = int(window["t_start_ns"].min()), int(window["t_end_ns"].max())
            idle = {
                "before": (marks["idle_before"], marks["measure"]),
                "after": (marks["idle_after"], marks["end"]),
            }
        else:  # the cloud does not say when its requests begin, only when it rests
            start_ns, end_ns = marks["idle_before"], marks["idle_after"]
        known = sensor(node, name)
        yield _Source(where, scope, known, 1000 / spec.rate_hz, rails, start_ns, end_ns, idle)


def _sampling(source: _Source, rail: str) -> Iterator[str]:
    t_ns, mw = source.inside(rail)
    where = f"{source.where}, {rail}"
    readings = source.sensor.readings(len(t_ns), (source.end_ns - source.start_ns) / 1e9)
    if readings < MIN_READINGS:
        yield (
            f"{where}: {readings:.1f} independent readings while measuring ({len(t_ns)} power samples, averaged over "
            f"{1e3 * source.sensor.averaging_s:g} ms each; limit {MIN_READINGS})"
        )
        return
    gap_ms, gap_limit_ms = np.diff(t_ns).max() / 1e6, MAX_GAP_PERIODS * source.period_ms
    if gap_ms > gap_limit_ms:
        yield f"{where}: {gap_ms:.0f} ms without a power sample (limit {gap_limit_ms:.0f} ms)"
    if 0 < source.sensor.limits(rail).lsb_mw <= SMALL_LSB * abs(mw.mean()):
        same_ms = _longest_same_ns(t_ns, mw) / 1e6
        same_limit_ms = MAX_SAME_READINGS * max(source.period_ms, 1e3 * source.sensor.averaging_s)
        if same_ms > same_limit_ms:
            yield f"{where}: the same reading for {same_ms:.0f} ms (limit {same_limit_ms:.0f} ms)"


def _longest_same_ns(t_ns: NDArray[np.int64], mw: NDArray[np.float64]) -> int:
    """The longest time from one reading to the last in a row that is the same."""
    begins = np.flatnonzero(np.diff(mw, prepend=np.nan) != 0)
    ends = np.append(begins[1:], len(mw)) - 1
    return int((t_ns[ends] - t_ns[begins]).max())


def _baselines(source: _Source) -> Iterator[str]:
    levels = {}
    # What the sensor averages just after a phase began, or before it ends, is not all of that phase.
    settle_ns = round(source.sensor.averaging_s * 1e9)
    for when, (start_ns, end_ns) in source.idle.items():
        rails = [source.between(rail, start_ns + settle_ns, end_ns - settle_ns)[1] for rail in source.rails]
        if min(len(mw) for mw in rails) < 2:
            yield (
                f"{source.where}: {min(len(mw) for mw in rails)} power samples of the idle baseline {when} that count "
                "(limit 2); raise idle_s"
            )
            return
        levels[when] = sum(float(mw.mean()) for mw in rails)
    if levels and abs(levels["after"] - levels["before"]) > MAX_BASELINE_DRIFT * abs(levels["before"]):
        drift = abs(levels["after"] / levels["before"] - 1) if levels["before"] else np.inf
        yield f"{source.where}: idle baselines {drift:.1%} apart (limit {MAX_BASELINE_DRIFT:.0%})"


def _apart(one: _Source, other: _Source) -> Iterator[str]:
    if one.scope != other.scope or (one.scope == "module" and {one.sensor.source, other.sensor.source} & ONE_MODULE):
        return
    means = []
    for source in (one, other):
        inside = [source.inside(rail) for rail in source.rails]
        if min(len(t_ns) for t_ns, _ in inside) < 2:
            return  # too few, which is said already
        means.append(sum(_mean_mw(t_ns, mw) for t_ns, mw in inside))
    if abs(means[0] - means[1]) > MAX_SOURCES_APART * max(map(abs, means)):
        share = abs(means[0] - means[1]) / max(map(abs, means))
        yield (
            f"{one.where}: {means[0]:.0f} mW, {other.sensor.source} {means[1]:.0f} mW of the same {one.scope}, "
            f"{share:.1%} apart (limit {MAX_SOURCES_APART:.0%})"
        )


def _mean_mw(t_ns: NDArray[np.int64], mw: NDArray[np.float64]) -> float:
    """Mean over time, not over samples: a source need not sample evenly."""
    return float(np.sum((mw[1:] + mw[:-1]) / 2 * np.diff(t_ns)) / (t_ns[-1] - t_ns[0]))


def _repeats(cell: Cell) -> Iterator[tuple[str, NodeRecord, BoardFacts, BoardFacts]]:
    """Where, the node, and what it said of itself at the start and at the end of each repeat."""
    for node in cell.manifest.nodes.values():
        for repeat, said in node.repeats.items():
            yield f"{node.role} {node.id}, repeat {repeat}", node, said.hello.board, said.finished.facts


def _throttled(cell: Cell) -> Iterator[str]:
    for where, _, hello, finished in _repeats(cell):
        before, after = hello.throttle, finished.throttle
        for counter in sorted(before.keys() & after.keys()):
            if counter.endswith(THROTTLE_STATES):
                if worst := max(before[counter], after[counter]):
                    yield f"{where}: throttled: {counter} was {worst} (limit 0)"
            elif after[counter] != before[counter]:
                change = f"from {before[counter]} to {after[counter]}"
                yield f"{where}: throttled: {counter} went {change} (limit: no change)"


def _heating(cell: Cell) -> Iterator[str]:
    for where, node, hello, finished in _repeats(cell):
        if not node.profile.power or node.profile.kind == "emulated":
            continue  # its energy is not measured
        before, after = hello.temperature_c, finished.temperature_c
        for zone in sorted(before.keys() & after.keys()):
            if after[zone] - before[zone] > MAX_HEATING_C:
                yield (
                    f"{where}: still warming up: {zone} from {before[zone]:.1f} to {after[zone]:.1f} °C "
                    f"(limit {MAX_HEATING_C:g} °C more)"
                )


def _clocks(cell: Cell) -> Iterator[str]:
    for line in cell.clock_lines:
        if abs(line.skew_ppm) - line.skew_bound_ppm > MAX_SKEW_PPM:
            yield (
                f"{line.node}, repeat {line.repeat}: its monotonic clock ran {line.skew_ppm:.0f} ± "
                f"{line.skew_bound_ppm:.0f} ppm off the orchestrator's (limit {MAX_SKEW_PPM:.0f} ppm)"
            )
    walls: dict[tuple[str, int], list[int]] = {}
    for estimate in cell.clock:
        if estimate.wall_offset_ns is not None:
            walls.setdefault((estimate.node, estimate.repeat), []).append(estimate.wall_offset_ns)
    for (node, repeat), wall in walls.items():
        step_ms = (max(wall) - min(wall)) / 1e6
        if step_ms > MAX_WALL_STEP_MS:
            yield f"{node}, repeat {repeat}: its wall clock was set by {step_ms:.1f} ms (limit {MAX_WALL_STEP_MS:g} ms)"


def _reboots(cell: Cell) -> Iterator[str]:
    for node in cell.manifest.nodes.values():
        if len({said.hello.board.boot_id for said in node.repeats.values()}) > 1:
            yield f"{node.role} {node.id} was rebooted between repeats"
