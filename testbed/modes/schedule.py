"""Which schedule answers soonest: a request of co-inference as a timeline, and the best of all timelines.

A schedule says how many timesteps are computed in one call and sent in one message (`chunks`). It also says how many
timesteps may be on their way before an answer is waited for (`window`). What a request takes under it follows from how
long a chunk takes on either side, from the link, and from where requests exit. Edge, uplink and cloud each do one thing
at a time, in order. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WITHIN = 1.01
"""Schedules whose latency is within 1% of the least are as good as it; of those the edge computes least in the best."""

MOST_CHUNKINGS = 512
"""All ways to split T timesteps up to T = 10; beyond that only those in chunks that are all but the first alike."""


@dataclass(frozen=True)
class Schedule:
    """How the timesteps of a request are grouped, and how many of them may be unanswered."""

    window: int
    chunks: tuple[int, ...]


@dataclass(frozen=True)
class Stages:
    """What a chunk of so many timesteps takes, by its size, in ms, and the link between the two sides.

    Attributes:
        edge_ms: computing and encoding on the edge.
        cloud_ms: decoding and computing on the cloud.
        first_ms: what the edge computes once for a request, before its first chunk.
        up_ms: the uplink is taken for so long by each timestep's code (serialisation).
        rtt_ms: round trip of an empty message.
    """

    edge_ms: Mapping[int, float]
    cloud_ms: Mapping[int, float]
    first_ms: float
    up_ms: float
    rtt_ms: float


@dataclass(frozen=True)
class Expected:
    """What is expected of a schedule: means over the requests, in ms, and timesteps computed in vain."""

    latency_ms: float
    edge_ms: float
    wasted_timesteps: float


def expect(schedule: Schedule, stages: Stages, exits: Sequence[float]) -> Expected:
    """The means over requests of which `exits[t]` is the share that stops at timestep t + 1 (they add up to 1)."""
    latency_ms = edge_ms = wasted = 0.0
    for last, share in enumerate(exits, start=1):
        if share:
            one = _request(schedule, stages, last)
            latency_ms += share * one.latency_ms
            edge_ms += share * one.edge_ms
            wasted += share * one.wasted_timesteps
    return Expected(latency_ms, edge_ms, wasted)


def choose(stages: Stages, exits: Sequence[float]) -> tuple[Schedule, Expected]:
    """The schedule that answers soonest in the mean; among equals (`WITHIN`) the one with least work on the edge."""
    timesteps = len(exits)
    tried = [(each, expect(each, stages, exits)) for each in schedules(timesteps, tuple(stages.edge_ms))]
    least_ms = min(expected.latency_ms for _, expected in tried)
    equals = [one for one in tried if one[1].latency_ms <= WITHIN * least_ms]
    return min(equals, key=lambda one: (one[1].edge_ms, one[1].latency_ms, one[0].window, len(one[0].chunks)))


def schedules(timesteps: int, sizes: Sequence[int]) -> Iterator[Schedule]:
    """Every window for every way to make `timesteps` of such chunks; windows that change nothing are left out."""
    for chunks in _chunkings(timesteps, sizes):
        seen = set()
        for window in range(1, timesteps + 1):
            most = _most_in_flight(chunks, window)
            if most not in seen:
                seen.add(most)
                yield Schedule(window, chunks)


def may_go(unanswered: int, size: int, window: int) -> bool:
    """Whether a chunk of `size` timesteps may go while so many are unanswered; where none is, it always may."""
    return unanswered == 0 or unanswered + size <= window


@dataclass(frozen=True)
class _Sent:
    last: int
    """The last timestep in it, counted from 1."""
    size: int
    answered_ms: float


def _request(schedule: Schedule, stages: Stages, last: int) -> Expected:
    """One request whose answer is confident from timestep `last` on."""
    now = edge_ms = stages.first_ms
    uplink_free = cloud_free = 0.0
    done = 0
    open_: list[_Sent] = []
    for size in schedule.chunks:
        while not may_go(sum(sent.size for sent in open_), size, schedule.window):
            now = max(now, open_[0].answered_ms)
            if open_.pop(0).last >= last:
                return Expected(now, edge_ms, done - last)
        # What is there already is looked at before more is computed.
        while open_ and open_[0].answered_ms <= now:
            if open_.pop(0).last >= last:
                return Expected(now, edge_ms, done - last)
        now += stages.edge_ms[size]
        edge_ms += stages.edge_ms[size]
        done += size
        uplink_free = max(now, uplink_free) + size * stages.up_ms
        cloud_free = max(uplink_free + stages.rtt_ms / 2, cloud_free) + stages.cloud_ms[size]
        open_.append(_Sent(done, size, cloud_free + stages.rtt_ms / 2))
    answered = next(sent for sent in open_ if sent.last >= last)
    return Expected(max(now, answered.answered_ms), edge_ms, done - last)


def _chunkings(timesteps: int, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The ways to make `timesteps` of chunks of these sizes, in order."""
    if 2 ** (timesteps - 1) > MOST_CHUNKINGS:
        for first in sizes:
            for size in sizes:
                if first <= timesteps and (timesteps - first) % size == 0:
                    yield (first, *[size] * ((timesteps - first) // size))
        return
    if timesteps == 0:
        yield ()
    for size in sizes:
        if size <= timesteps:
            for rest in _chunkings(timesteps - size, sizes):
                yield (size, *rest)


def _most_in_flight(chunks: Sequence[int], window: int) -> tuple[int, ...]:
    """For each chunk, how many before it may still be unanswered when it goes: what a window comes to."""
    most = []
    for number, size in enumerate(chunks):
        behind = 0
        while behind < number and may_go(sum(chunks[number - behind - 1 : number]), size, window):
            behind += 1
        most.append(behind)
    return tuple(most)
