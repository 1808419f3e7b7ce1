"""Gates on power: enough readings, no pauses, a sensor that reads, baselines and sources that agree.

Each is asked about the sources of one node in one repeat. Where a rail has too few readings, that is said once and the
other gates pass over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from testbed.record.metering import MIN_READINGS
from testbed.record.power import Source, Window, left_out
from testbed.record.reader import Cell
from testbed.record.trapezoid import Trace

MAX_GAP_PERIODS = 5.0
"""Longest pause between two power samples of a rail, in sampling periods."""

MAX_SAME_READINGS = 50
"""Independent readings of one rail in a row that may be the same. Only where the rail's step is small
(`SMALL_LSB`): the noise of a board then moves each reading, and a sensor that repeats itself no longer reads."""

SMALL_LSB = 0.01
"""A step is small if it is at most this share of the mean power."""

MAX_LEFT_OUT = 0.01
"""Share of a rail's readings that may be beyond what it can draw. In place of each the line between its neighbours
counts, so an energy is off by that share of what power varies by: a fifth of what baselines may drift. A sensor that
gives more nonsense than that is not to be believed in the rest."""

MAX_BASELINE_DRIFT = 0.05
"""Relative difference of the idle power before and after a repeat."""

MAX_SOURCES_APART = 0.05
"""Relative difference of two sources that measure the same."""

ONE_MODULE = frozenset({"nvml", "rapl"})
"""Sources whose module is one card or the processors of a host: beside each other they meter different things."""

_BASELINES = {"idle_before": "before", "idle_after": "after"}


@dataclass(frozen=True)
class Metered:
    """One power source of a node in one repeat."""

    source: Source
    repeat: int
    window: Window

    @property
    def where(self) -> str:
        """What a reason begins with."""
        return f"{self.source.node}: {self.source.name}, repeat {self.repeat}"

    def inside(self, rail: str) -> Trace:
        """A rail's samples while requests ran."""
        return self.window.inside(self.source.rails[rail])

    def rails(self) -> Iterator[tuple[str, Trace]]:
        """The rails with enough readings, and their samples while requests ran."""
        for rail in self.source.rails:
            if self.window.readings(self.source, rail) >= MIN_READINGS:
                yield rail, self.inside(rail)


def beyond_belief(cell: Cell) -> Iterator[str]:
    """Too many readings of a rail were more than it can draw; they are in no energy."""
    for node in cell.manifest.nodes.values():
        for found in left_out(node):
            if found.counts and found.share > MAX_LEFT_OUT:
                limit = "" if found.max_mw is None else f" (above {found.max_mw / 1000:,.0f} W, or below zero)"
                yield (
                    f"{node.id}: {found.source}, repeat {found.repeat}, {found.rail}: {found.readings} readings, "
                    f"{found.share:.1%} of all, are none that it can give{limit} and were left out "
                    f"(limit {MAX_LEFT_OUT:.0%})"
                )


def few_readings(metered: list[Metered]) -> Iterator[str]:
    """A rail has fewer independent readings than an energy needs."""
    for one in metered:
        for rail in one.source.rails:
            readings = one.window.readings(one.source, rail)
            if readings < MIN_READINGS:
                yield (
                    f"{one.where}, {rail}: {readings:.1f} independent readings while measuring "
                    f"({len(one.inside(rail).t_ns)} power samples, averaged over "
                    f"{1e3 * one.source.sensor.averaging_s:g} ms each; limit {MIN_READINGS})"
                )


def pauses(metered: list[Metered]) -> Iterator[str]:
    """A rail was not sampled for a while."""
    for one in metered:
        limit_ms = MAX_GAP_PERIODS * one.source.period_ms
        for rail, trace in one.rails():
            gap_ms = np.diff(trace.t_ns).max() / 1e6
            if gap_ms > limit_ms:
                yield f"{one.where}, {rail}: {gap_ms:.0f} ms without a power sample (limit {limit_ms:.0f} ms)"


def stuck(metered: list[Metered]) -> Iterator[str]:
    """A sensor gave the same reading again and again, though its step is small."""
    for one in metered:
        limit_ms = MAX_SAME_READINGS * max(one.source.period_ms, 1e3 * one.source.sensor.averaging_s)
        for rail, trace in one.rails():
            if 0 < one.source.sensor.limits(rail).lsb_mw <= SMALL_LSB * abs(trace.mw.mean()):
                same_ms = _longest_same_ns(trace) / 1e6
                if same_ms > limit_ms:
                    yield f"{one.where}, {rail}: the same reading for {same_ms:.0f} ms (limit {limit_ms:.0f} ms)"


def baselines_apart(metered: list[Metered]) -> Iterator[str]:
    """The idle baselines before and after a repeat differ, or are too short to tell."""
    for one in metered:
        levels: list[float] = []
        for phase in one.window.idle:
            rails = [one.source.settled(rail, phase) for rail in one.source.rails]
            fewest = min(len(trace.t_ns) for trace in rails)
            if fewest < 2:
                yield (
                    f"{one.where}: {fewest} power samples of the idle baseline {_BASELINES[phase.name]} that count "
                    "(limit 2); raise idle_s"
                )
                break
            levels.append(sum(trace.mean_mw for trace in rails))
        else:
            if levels and abs(levels[1] - levels[0]) > MAX_BASELINE_DRIFT * abs(levels[0]):
                drift = abs(levels[1] / levels[0] - 1) if levels[0] else np.inf
                yield f"{one.where}: idle baselines {drift:.1%} apart (limit {MAX_BASELINE_DRIFT:.0%})"


def sources_apart(metered: list[Metered]) -> Iterator[str]:
    """Two sources that measure the same node at the same scope differ in mean power."""
    for one, other in combinations(metered, 2):
        pair = (one.source, other.source)
        if pair[0].scope != pair[1].scope:
            continue
        if pair[0].scope == "module" and {source.name for source in pair} & ONE_MODULE:
            continue
        inside = [[each.inside(rail) for rail in each.source.rails] for each in (one, other)]
        if min(len(trace.t_ns) for traces in inside for trace in traces) < 2:
            continue  # too few, which is said already
        means = [sum(trace.mean_mw for trace in traces) for traces in inside]
        apart, largest = abs(means[0] - means[1]), max(map(abs, means))
        if apart > MAX_SOURCES_APART * largest:
            yield (
                f"{one.where}: {means[0]:.0f} mW, {pair[1].name} {means[1]:.0f} mW of the same {pair[0].scope}, "
                f"{apart / largest:.1%} apart (limit {MAX_SOURCES_APART:.0%})"
            )


def _longest_same_ns(trace: Trace) -> int:
    """The longest time from one reading to the last in a row that is the same."""
    begins = np.flatnonzero(np.diff(trace.mw, prepend=np.nan) != 0)
    ends = np.append(begins[1:], len(trace.mw)) - 1
    return int((trace.t_ns[ends] - trace.t_ns[begins]).max())
