"""A trace as settings of the kernel's bucket, played against a bucket that does what the kernel's does."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from devices.links.conditions import Capacity
from testbed.link.shaping.buckets import FASTEST, RESOLUTION_MS, Piece, pieces

MTU = 1500
FRAME = 1514


def steady(bytes_per_s: int) -> Capacity:
    return Capacity(ms=[0, 1000], bytes=[0, bytes_per_s])


def wandering(mean_mbit_s: float, seed: int) -> Capacity:
    """Ten seconds that change every 20 ms, with an outage of 1.5 s."""
    drawn, rate, carried = random.Random(seed), mean_mbit_s, [0]
    moments = range(20, 10_001, 20)
    for ms in moments:
        rate = max(0.02 * mean_mbit_s, min(4 * mean_mbit_s, rate * np.exp(drawn.gauss(0, 0.3))))
        carried.append(carried[-1] + (0 if 4000 < ms <= 5500 else round(2500 * rate)))
    return Capacity(ms=[0, *moments], bytes=carried)


def played(plan: list[Piece], period_ms: int) -> list[tuple[float, int]]:
    """When each IP packet of a sender that never stops gets through, in ms: tbf_change and tbf_dequeue."""
    passed, ends = [], [*(piece.start_ms for piece in plan[1:]), float(period_ms)]
    for piece, end in zip(plan, ends, strict=True):
        rate, burst = piece.bucket.rate / 1000, piece.bucket.burst
        now, tokens = piece.start_ms, float(burst)
        while True:
            wait = max(0.0, (FRAME - tokens) / rate)
            if now + wait >= end:
                break
            now, tokens = now + wait, min(burst, tokens + wait * rate) - FRAME
            passed.append((now, MTU))
    return passed


def test_a_steady_rate_is_one_piece_with_ethernets_header_on_top() -> None:
    (piece,) = pieces(steady(1_500_000), MTU)
    assert piece.bucket.rate == 1_514_000
    assert piece.bucket.burst == FRAME + 4 + 1514


def test_without_a_capacity_it_is_as_fast_as_the_interface() -> None:
    (piece,) = pieces(None, MTU)
    assert piece.bucket.rate == FASTEST


@pytest.mark.parametrize("mean_mbit_s", [2.0, 10.0, 40.0])
def test_what_passes_follows_the_trace(mean_mbit_s: float) -> None:
    capacity = wandering(mean_mbit_s, seed=3)
    passed = played(pieces(capacity, MTU), 10_000)
    total = sum(size for _, size in passed)
    assert total == pytest.approx(capacity.bytes[-1], rel=0.01)
    for second in range(10):
        start, end = np.interp([1000 * second, 1000 * second + 1000], capacity.ms, capacity.bytes)
        had = sum(size for ms, size in passed if 1000 * second <= ms < 1000 * second + 1000)
        assert had == pytest.approx(end - start, rel=0.05, abs=4 * MTU)


def test_in_an_outage_one_packet_passes_at_most() -> None:
    passed = played(pieces(wandering(10.0, seed=3), MTU), 10_000)
    assert sum(4000 <= ms < 5500 for ms, _ in passed) <= 1


def test_changes_are_never_closer_than_the_resolution() -> None:
    finer = Capacity(ms=list(range(0, 4001)), bytes=[0, *np.cumsum([i % 7 * 900 for i in range(4000)]).tolist()])
    starts = [piece.start_ms for piece in pieces(finer, MTU)]
    assert min(later - before for before, later in pairwise(starts)) >= RESOLUTION_MS - 1e-6


def test_a_factor_scales_what_passes() -> None:
    capacity = wandering(10.0, seed=4)
    whole, half = (len(played(pieces(capacity, MTU, factor), 10_000)) for factor in (1.0, 0.5))
    assert half == pytest.approx(whole / 2, rel=0.02)
