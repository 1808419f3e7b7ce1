from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import LinkError
from testbed.link import clock
from testbed.link.clock import ClockOffset, Exchange, estimate, wall_offset_ns
from testbed.link.messages import ClockPing, ClockPong

SECOND = 1_000_000_000

line = functools.partial(clock.line, node="board", repeat=0)

delays = st.integers(0, 10**10)
trips = st.lists(st.tuples(st.integers(0, 2**62), delays, delays, delays), min_size=1, max_size=20)


def exchange(offset: int, start: int, there: int, held: int, back: int) -> Exchange:
    t2 = start + there + offset
    return Exchange(start, t2, t2 + held, start + there + held + back)


@given(st.integers(-(2**62), 2**62), trips)
def test_the_true_offset_lies_within_the_bound_however_unequal_the_ways(offset: int, trips):
    result = estimate([exchange(offset, *trip) for trip in trips])
    assert abs(result.offset_ns - offset) <= result.bound_ns
    assert result.rtt_ns == min(there + back for _, there, _, back in trips)
    assert result.bound_ns == (result.rtt_ns + 1) // 2
    assert result.exchanges == len(trips)


@given(st.integers(-(2**62), 2**62), delays, delays)
def test_equal_ways_give_the_exact_offset(offset: int, delay: int, held: int):
    assert estimate([exchange(offset, 5, delay, held, delay)]).offset_ns == offset


def test_the_bound_is_reached_when_one_way_takes_all_the_time():
    result = estimate([exchange(1000, 0, 600, 50, 0)])
    assert (result.offset_ns, result.bound_ns) == (1300, 300)


def test_one_quick_exchange_among_slow_ones_decides():
    slow = exchange(70, 0, 10**9, 0, 0)
    assert estimate([slow, exchange(70, 10, 4, 9, 4), slow]).offset_ns == 70


def test_no_exchange_gives_no_offset():
    with pytest.raises(LinkError, match="no ping was answered"):
        estimate([])


@pytest.mark.parametrize("impossible", [Exchange(0, 10, 9, 20), Exchange(0, 0, 100, 50)])
def test_a_clock_that_ran_backwards_is_not_averaged_away(impossible: Exchange):
    with pytest.raises(LinkError, match="backwards"):
        estimate([exchange(0, 0, 1, 1, 1), impossible])


def test_an_offset_is_that_of_the_middle_of_its_round_trip():
    assert estimate([exchange(70, 0, 10**9, 0, 0), exchange(70, 1000, 4, 8, 4)]).t_ns == 1008


def measured(t_ns: int, offset_ns: float, bound_ns: int, share: float = 0.0) -> ClockOffset:
    """An estimate whose error is `share` of its bound."""
    return ClockOffset(round(offset_ns + share * bound_ns), bound_ns, 2 * bound_ns, 8, t_ns)


@given(
    st.integers(-(2**60), 2**60),
    st.floats(-500, 500),
    st.lists(st.tuples(st.integers(0, 600 * SECOND), st.integers(10, 10**7), st.floats(-1, 1)), min_size=2, max_size=9),
)
def test_the_true_offset_and_skew_lie_within_the_lines_bounds(offset_ns: int, ppm: float, parts):
    times = [t_ns for t_ns, _, _ in parts]
    if max(times) - min(times) < SECOND:
        return
    found = line([measured(t, offset_ns + ppm * 1e-6 * t, bound, share) for t, bound, share in parts])
    assert found.straight
    # Rounding to whole nanoseconds is not drift.
    assert abs(found.skew_ppm - ppm) <= found.skew_bound_ppm + 1e6 * 2 / SECOND
    assert abs(found.offset_ns - (offset_ns + ppm * 1e-6 * found.t_ns)) <= found.bound_ns + 1000


def test_the_skew_is_bounded_by_the_quickest_exchanges_and_not_by_the_slowest():
    offsets = [measured(t * SECOND, 2000 * t, 50_000) for t in (0, 100)]
    during = [measured(t * SECOND, 2000 * t, 5_000_000, 0.9) for t in (30, 60)]
    alone, more = line(offsets), line([*offsets, *during])
    assert more == alone
    assert (alone.skew_ppm, alone.offset_ns) == (pytest.approx(2.0), pytest.approx(100_000, abs=1))
    assert alone.skew_bound_ppm == pytest.approx(1.0, rel=0.01)


def test_a_good_exchange_in_the_middle_narrows_the_offset_there():
    ends = [measured(0, 0, 50_000), measured(100 * SECOND, 0, 50_000)]
    assert line([*ends, measured(50 * SECOND, 0, 1000)]).bound_ns < 1100 < line(ends).bound_ns


def test_a_clock_that_changes_its_pace_is_not_straight_and_its_skew_is_the_mean():
    wandering = [measured(0, 0, 1000), measured(50 * SECOND, 500_000, 1000), measured(100 * SECOND, 500_000, 1000)]
    found = line(wandering)
    assert not found.straight
    assert found.skew_ppm == pytest.approx(5.0)
    assert found.skew_bound_ppm == pytest.approx(0.02, rel=0.01)
    assert abs(found.offset_ns - 500_000) <= found.bound_ns


@pytest.mark.parametrize("offsets", [[], [measured(5, 0, 1)], [measured(5, 0, 1), measured(5, 0, 2)]])
def test_a_skew_takes_two_times(offsets):
    with pytest.raises(LinkError, match="two exchanges"):
        line(offsets)


def test_the_wall_clocks_offset_is_the_difference_of_both_clocks():
    low_ns = time.time_ns() - time.monotonic_ns()
    found_ns = wall_offset_ns()
    assert abs(found_ns - low_ns) < SECOND  # unless the wall clock is set at this moment


@contextmanager
def peer(**setup: float) -> Iterator[zmq.Socket[bytes]]:
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("clock_peer.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    try:
        process.stdin.write(json.dumps(setup).encode() + b"\n")
        process.stdin.flush()
        socket.connect(f"tcp://127.0.0.1:{int(process.stdout.readline())}")
        yield socket
        socket.send(b"")
    finally:
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            pipe.close()
        socket.close(linger=0)
        context.term()


def ping(socket: zmq.Socket[bytes], count: int) -> ClockOffset:
    exchanges = []
    for _ in range(count):
        socket.send(msgspec.msgpack.encode(ClockPing(t1_ns=time.monotonic_ns())))
        answer = msgspec.msgpack.decode(socket.recv(), type=ClockPong)
        exchanges.append(Exchange(answer.t1_ns, answer.t2_ns, answer.t3_ns, time.monotonic_ns()))
    return estimate(exchanges)


@pytest.mark.parametrize(
    ("there_s", "back_s"), [(0.0, 0.0), (0.006, 0.0), (0.0, 0.006)], ids=["no delay", "slow there", "slow back"]
)
@pytest.mark.parametrize("drift", [0.01, -0.01])
def test_offset_and_drift_of_another_process_are_recovered_within_the_bound(there_s, back_s, drift):
    zero_ns, offset_ns = time.monotonic_ns(), -123_456_789_012
    with peer(zero_ns=zero_ns, offset_ns=offset_ns, drift=drift, there_s=there_s, back_s=back_s) as socket:
        offsets = [ping(socket, 20)]
        while offsets[-1].t_ns - offsets[0].t_ns < 0.8 * SECOND:
            offsets.append(ping(socket, 4))
    for found in offsets:
        assert abs(found.offset_ns - offset_ns - drift * (found.t_ns - zero_ns)) <= found.bound_ns
        assert found.bound_ns >= (there_s + back_s) * SECOND / 2  # a bound that is no narrower than it may be
    found = line(offsets)
    assert found.straight
    assert abs(found.offset_ns - offset_ns - drift * (found.t_ns - zero_ns)) <= found.bound_ns
    assert abs(found.skew_ppm - 1e6 * drift) <= found.skew_bound_ppm
    if not there_s + back_s:
        assert found.skew_bound_ppm < 1e4  # so that it is not taken for a clock without drift
