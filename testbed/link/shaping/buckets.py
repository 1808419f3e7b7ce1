"""A capacity as settings of a token bucket that is changed as time passes: what the kernel's tbf is told, and when.

A change of the kernel's bucket fills it (tbf_change in net/sched/sch_tbf.c), so that each change lets a packet pass at
once. That packet is part of what a piece may carry. Pieces carry whole packets, and what is left over goes to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from devices.links.conditions import MOST_POINTS, Capacity

RESOLUTION_MS = 20
"""The shortest time between two changes; where a trace is slow they are further apart, see `pieces`."""

PACKETS_PER_PIECE = 4
"""At least, so that the one that passes at once does not decide about the rate."""

OUTAGE_MS = 200
"""As long as this a steady stretch is a piece of its own, however little it carries."""

ETHERNET_BYTES = 14
"""The kernel's queues count them with each IP packet (skb->len); a capacity counts IP packets alone."""

FASTEST = 1_250_000_000
"""Bytes a second of a direction without a capacity: 10 Gbit/s, more than a node's interface carries."""

_SLOWEST = 1
_BURST_S = 1e-3
"""How late the kernel's timer may be without loss of throughput."""
_MOST_BURST = 30_000
_TAG_BYTES = 4


class Bucket(NamedTuple):
    """Bytes a second, and how many may pass at once; both as the kernel counts, with Ethernet's header."""

    rate: int
    burst: int


class Piece(NamedTuple):
    """From a moment on, until the next piece or the capacity's end."""

    start_ms: float
    bucket: Bucket


def pieces(capacity: Capacity | None, mtu: int, factor: float = 1.0) -> list[Piece]:
    """A capacity, times a factor, as buckets for an interface whose packets have at most `mtu` bytes.

    A piece lasts at least `RESOLUTION_MS`. It goes on until it carries `PACKETS_PER_PIECE` packets, a step comes that
    carries them by itself, or a steady stretch of `OUTAGE_MS` begins or ends.
    """
    if capacity is None:
        return [Piece(0.0, bucket(FASTEST * factor, mtu))]
    frame = mtu + ETHERNET_BYTES
    stretches = _stretches(capacity, mtu, factor)
    if len(stretches) == 1:
        return [Piece(0.0, bucket(factor * capacity.mean_bytes_per_s * frame / mtu, mtu))]
    found, left_over = [], 0.0
    for start, end, budget in stretches:
        left_over += budget
        # One passes whatever the rate: the change fills the bucket.
        packets = max(1, int(left_over // mtu))
        left_over -= packets * mtu
        # Half a packet short, so that neither rounding nor a late timer decides about the last one.
        after_first, seconds = (packets - 0.5) * frame, (end - start) / 1000
        rate = after_first / (seconds + _BURST_S)
        if rate * _BURST_S > _MOST_BURST:
            rate = (after_first - _MOST_BURST) / seconds
        found.append(Piece(start, bucket(rate, mtu)))
    return found


def bucket(rate: float, mtu: int) -> Bucket:
    """A bucket for a steady rate, in bytes a second as the kernel counts."""
    rate = min(max(rate, _SLOWEST), 2 * FASTEST)
    return Bucket(int(rate), frame_bytes(mtu) + int(min(rate * _BURST_S, _MOST_BURST)))


def frame_bytes(mtu: int) -> int:
    """The most that the kernel counts for one packet: with Ethernet's header and a VLAN's tag."""
    return mtu + ETHERNET_BYTES + _TAG_BYTES


class _Stretch(NamedTuple):
    """What the capacity carries from one moment to another, both in ms."""

    start_ms: float
    end_ms: float
    budget: float


def _stretches(capacity: Capacity, mtu: int, factor: float) -> list[_Stretch]:
    """The capacity's steps, put together where they carry too little."""
    enough = PACKETS_PER_PIECE * mtu
    found: list[_Stretch] = []
    for step in _steps(capacity, factor):
        last = found[-1] if found else None
        if last is None or last.budget >= enough or step.budget >= enough or _steady(last) or _steady(step):
            found.append(step)
        else:
            found[-1] = _Stretch(last.start_ms, step.end_ms, last.budget + step.budget)
    return found


def _steady(stretch: _Stretch) -> bool:
    return stretch.end_ms - stretch.start_ms >= OUTAGE_MS


def _steps(capacity: Capacity, factor: float) -> list[_Stretch]:
    """The capacity on a grid; neighbours of one rate are one step: no change, no packet that passes at once."""
    period = capacity.ms[-1]
    edges = np.linspace(0, period, max(1, min(MOST_POINTS, period // RESOLUTION_MS)) + 1)
    bytes_at = factor * np.interp(edges, capacity.ms, capacity.bytes)
    changes = np.abs(np.diff(np.diff(bytes_at))) > 1.0
    kept = np.concatenate(([True], changes, [True]))
    ms, carried = edges[kept].tolist(), bytes_at[kept].tolist()
    return [_Stretch(*each) for each in zip(ms, ms[1:], np.diff(carried).tolist(), strict=False)]
