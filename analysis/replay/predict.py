"""What another exit rule would have taken: time, energy and wire bytes, predicted from the recorded timesteps.

A request that stops after timestep t ends when that timestep's answer was there, and what came after its last answer
comes after this one: `(t_reply[t] - t_start) + (t_end - t_reply[T])`. Its first timestep has all that comes once, such
as the layers before the first spikes. The pauses between requests stay as they were. Where requests wait for their
turn, each then begins when it has arrived and the one before is over (`analysis.replay.queued`).

A node draws one power while it waits for an answer, and another while it works (between answers and between requests).
In each repeat both follow from a straight line through the power samples over the share of waiting in each; the line
passes through the mean of the window, so that running all T timesteps again has the energy that was measured.

Where an edge sends ahead of its answers (a window), what it has sent and computed by the time of an exit is a matter of
timing. Energy and bytes are not predicted then. When the answer is there does not change.

A request without an answer, and one that the edge answered alone, stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.energy import EnergySource, draw, meter
from analysis.replay.decide import Floats, Recorded, at
from analysis.replay.queued import latency_from_arrival_ms
from testbed.errors import RecordError
from testbed.record.power import Source, Window, repeats, window

NS_PER_MS, NS_PER_S = 1e6, 1e9
MAX_SLOPE_ERROR = 0.05
"""The standard error that the difference between the two powers may have, as a share of the mean power. Where it is
greater the samples cannot tell waiting from working, and both are given the mean."""


@dataclass(frozen=True)
class Powers:
    """What an edge draws in one repeat, mW: in the mean, how much more while it waits than while it works, and idle.

    `waiting` is the share of the window that it waited, `resolved` whether the samples could tell the two apart.
    """

    mean_mw: float
    wait_more_mw: float
    waiting: float
    idle_mw: float | None
    resolved: bool

    def energy_mj(self, seconds: float, waiting_s: float) -> float:
        """The energy of so long a time, of which so much is waiting."""
        return self.mean_mw * seconds + self.wait_more_mw * (waiting_s - self.waiting * seconds)


@dataclass(frozen=True)
class Times:
    """When each timestep of a cell's answered requests was sent and answered.

    Raises:
        RecordError: no times of single timesteps are recorded.
    """

    recorded: Recorded

    def __post_init__(self) -> None:
        if np.isnan(self.sent_ms[:, ~self.recorded.alone]).any():
            manifest = self.recorded.cell.manifest
            raise RecordError(
                f"{manifest.label}: it has no times of single timesteps, so an earlier exit's latency and energy are "
                f"not predicted; measure it with that exit"
            )

    def _since_start(self, column: str) -> Floats:
        # Whole nanoseconds since boot fit a float for 104 days; differences of them are exact.
        start_ns = self.recorded.answered["t_start_ns"].to_numpy(np.float64)
        return np.asarray((self.recorded.of_steps(column) - start_ns) / NS_PER_MS)

    @cached_property
    def sent_ms(self) -> Floats:
        """[T, N]: since the request's start."""
        return self._since_start("t_send_ns")

    @cached_property
    def replied_ms(self) -> Floats:
        """[T, N]: likewise, when the answer was there."""
        return self._since_start("t_reply_ns")

    @cached_property
    def latency_ms(self) -> Floats:
        """[T, N]: of a request that stops after each timestep, from its begin."""
        rows = self.recorded.answered
        whole = (rows["t_end_ns"] - rows["t_start_ns"]).to_numpy(np.float64) / NS_PER_MS
        found = np.asarray(self.replied_ms + (whole - self.replied_ms[-1]))
        found[:, self.recorded.alone] = whole[self.recorded.alone]
        return found

    @cached_property
    def wait_ms(self) -> Floats:
        """[T, N]: how much of it is waiting for answers; 0 where the edge answered alone."""
        each = (self.replied_ms - self.sent_ms)[self.recorded.firsts]
        waits = np.cumsum(each, axis=0)[self.recorded.messages - 1]
        waits[:, self.recorded.alone] = 0.0
        return np.asarray(waits)


@dataclass(frozen=True)
class Ends:
    """What it takes to tell the cloud that a request is over early: a message without an answer.

    A slow link may still be busy with it when the next request has its first code. That one then waits for longer.
    """

    times: Times

    @cached_property
    def held_ms(self) -> Floats:
        """[N]: by how much, if the request before ended early."""
        rows = self.times.recorded.answered
        requested = self.times.recorded.cell.manifest.link.requested
        rate = None if requested is None else (requested["up"].get("mbit_s") or {}).get("mean")
        if not rate:
            return np.zeros(len(rows))
        end_ms = 8e-3 * np.nan_to_num(overhead_bytes(self.times.recorded)) / rate
        start_ns = rows["t_start_ns"].to_numpy(np.int64)
        pause_ms = np.append(np.inf, (start_ns[1:] - rows["t_end_ns"].to_numpy(np.int64)[:-1]) / NS_PER_MS)
        # The last request of a repeat, or of another edge, holds up nobody; the pause before a lost one is long.
        pause_ms[pause_ms < 0] = np.inf
        free_ms = np.where(self.times.recorded.alone, np.inf, self.times.sent_ms[0])  # who asks nobody waits for no one
        return np.asarray(np.maximum(0.0, np.append(0.0, end_ms[:-1]) - pause_ms - free_ms))


def overhead_bytes(recorded: Recorded) -> Floats:
    """[N]: bytes on the wire of each message beside its payload, header and acknowledgements; NaN where not known."""
    names = ("wire_up_bytes", "payload_up_bytes")
    wire, payload = (recorded.answered[name].to_numpy(np.float64, na_value=np.nan) for name in names)
    return np.asarray((wire - payload) / len(recorded.chunks))


def wire_up_bytes(recorded: Recorded, exits: NDArray[np.int64]) -> Floats:
    """[N]: bytes on the wire: a message for each timestep, and one that says that a request is over early."""
    messages = recorded.messages[exits - 1] + (recorded.sent[exits - 1] < recorded.timesteps)
    found = np.asarray(at(recorded.payload_up_bytes, exits) + messages * overhead_bytes(recorded))
    whole = recorded.answered["wire_up_bytes"].to_numpy(np.float64, na_value=np.nan)
    return np.where(recorded.alone, whole, found)


@dataclass(frozen=True)
class Prediction:
    """Latency of the answered requests, and energy per request of each repeat, under one rule."""

    latency_ms: Floats
    gross_mj: dict[int, float]
    net_mj: dict[int, float]


class Predictor:
    """Predicts what a cell would take under other exits.

    Attributes:
        source: whether the edge's power is measured or emulated; None where it is not metered.
        powers: what it draws, by repeat; empty where it is not metered, or its power has holes.
        no_energy: which holes, or blank.
        times: when its timesteps were sent and answered.

    Raises:
        RecordError: no times of single timesteps are recorded, or a request that others waited for was not answered.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded, self.times = recorded, Times(recorded)
        self._ends = Ends(self.times)
        self._scenario = recorded.cell.manifest.config.scenario.kind
        lost = len(recorded.cell.requests) - len(recorded.answered)
        if lost and self._scenario != "single_stream":
            raise RecordError(
                f"{recorded.cell.manifest.label}: {lost} of its requests were not answered, so how long the others "
                "would have waited for their turn is not predicted"
            )
        self._node = recorded.cell.manifest.role("edge")[0]
        self._windows = {repeat: window(recorded.cell, self._node, repeat) for repeat in repeats(recorded.cell)}
        self.source: EnergySource | None = None
        self.powers: dict[int, Powers] = {}
        self.no_energy = ""
        if recorded.ahead:
            label = recorded.cell.manifest.label
            self.no_energy = (
                f"{label}: its edge sends ahead of its answers, so bytes and energy of an earlier exit are not "
                "predicted, nor what timesteps in vain cost the next request; measure it with that exit"
            )
            return
        if self._scenario == "server":
            self.no_energy = (
                f"{recorded.cell.manifest.label}: a server's edge also idles, and what it then draws is not told from "
                "what it draws while it works, so its energy is not predicted"
            )
            return
        try:
            source = meter(recorded.cell, self._node)
            if source is not None:
                self.powers = {repeat: self._powers(source, whole, repeat) for repeat, whole in self._windows.items()}
                self.source = "emulated" if source.scope == "emulated" else "measured"
        except RecordError as error:
            self.no_energy = str(error)

    def predict(self, exits: NDArray[np.int64]) -> Prediction:
        """What requests take that stop at these timesteps, counted from 1."""
        early = self._recorded.sent[exits - 1] < self._recorded.timesteps
        held_ms = np.where(np.append(False, early[:-1]), self._ends.held_ms, 0.0)
        latency_ms = np.asarray(at(self.times.latency_ms, exits) + held_ms)
        waiting_ms = np.asarray(at(self.times.wait_ms, exits) + held_ms)
        gross, net = {}, {}
        for repeat, powers in self.powers.items():
            mine, whole = self._mine(repeat), self._windows[repeat]
            saved_ms = (self.times.latency_ms[-1] - latency_ms)[mine].sum()
            seconds = whole.seconds - saved_ms / 1e3
            gross[repeat] = powers.energy_mj(seconds, waiting_ms[mine].sum() / 1e3) / whole.requests
            if powers.idle_mw is not None:
                net[repeat] = gross[repeat] - powers.idle_mw * seconds / whole.requests
        if self._scenario != "single_stream":
            rows, offline = self._recorded.answered, self._scenario == "offline"
            latency_ms = latency_from_arrival_ms(rows, latency_ms, all_at_once=offline)
        return Prediction(latency_ms, gross, net)

    def _mine(self, repeat: int) -> NDArray[np.bool_]:
        rows = self._recorded.answered
        return np.asarray((rows["repeat"] == repeat) & (rows["node"] == self._node.id), dtype=bool)

    def _powers(self, source: Source, whole: Window, repeat: int) -> Powers:
        drawn = draw(source, whole)
        mean_mw = drawn.gross_mj / whole.seconds
        begin, end = self._waits(repeat)
        waiting = float((end - begin).sum() / NS_PER_S / whole.seconds)
        slope = error2 = 0.0
        for rail in source.rails:
            inside = whole.inside(source.rails[rail])
            share = waiting_share(inside.t_ns, source.sensor.averaging_s, begin, end)
            more, error = slope_of(share, inside.mw)
            slope, error2 = slope + more, error2 + error**2
        resolved = error2**0.5 <= MAX_SLOPE_ERROR * mean_mw
        return Powers(mean_mw, slope if resolved else 0.0, waiting, drawn.idle_mw, resolved)

    def _waits(self, repeat: int) -> tuple[Floats, Floats]:
        """When the edge's waits of a repeat begin and end, ns, in time."""
        mine = self._mine(repeat) & ~self._recorded.alone
        columns = ("t_send_ns", "t_reply_ns")
        firsts = self._recorded.firsts
        begin, end = (self._recorded.of_steps(column)[firsts][:, mine].ravel() for column in columns)
        order = np.argsort(begin)
        return begin[order], end[order]


def waiting_share(t_ns: NDArray[np.int64], averaging_s: float, begin: Floats, end: Floats) -> Floats:
    """The share of each sample's averaging time that lies in waits; a sample is of the time around its stamp.

    Args:
        t_ns: stamps of the samples.
        averaging_s: how long each is averaged over; 0 for that moment alone.
        begin: when waits begin, ns ascending; they do not overlap.
        end: when they end.
    """
    half = max(1.0, averaging_s * NS_PER_S / 2)
    edges = np.stack([begin, end], axis=1).ravel()
    waited = np.concatenate([[0.0], np.repeat(np.cumsum(end - begin), 2)[:-1]])
    until = np.interp(np.stack([t_ns - half, t_ns + half]), edges, waited, left=0.0, right=waited[-1])
    return np.asarray((until[1] - until[0]) / (2 * half))


def slope_of(share: Floats, mw: Floats) -> tuple[float, float]:
    """Slope of a straight line of power over the share of waiting, and its standard error; infinite if there is none.

    Ordinary least squares.
    """
    spread = share - share.mean()
    squares = float(spread @ spread)
    if len(share) < 3 or squares == 0:
        return 0.0, np.inf
    slope = float(spread @ (mw - mw.mean())) / squares
    rest = mw - mw.mean() - slope * spread
    return slope, float(np.sqrt(rest @ rest / (len(share) - 2) / squares))
