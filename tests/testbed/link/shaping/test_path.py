from __future__ import annotations

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.links.conditions import Capacity, Direction, Link
from testbed.link.shaping.budget import NEVER, ByteBudget
from testbed.link.shaping.packets import IPV4_HEADER_BYTES, Flow
from testbed.link.shaping.path import Path
from testbed.link.shaping.shaper import Disturbance

MS = 1_000_000
FULL = 1500 - IPV4_HEADER_BYTES
LATE_NS = 1 << 50


def constant(mbit_s: float) -> Capacity:
    return Capacity(ms=[0, 1000], bytes=[0, round(mbit_s * 125_000)])


def link(up: Direction, down: Direction | None = None, *, seed: int = 0) -> Link:
    return Link(name="made", technology="other", up=up, down=up if down is None else down, seed=seed)


def arrivals(path: Path, until_ns: int = LATE_NS) -> list[tuple[int, int]]:
    return [(t_ns, payload) for t_ns, _, payload in path.advance(until_ns)]


def sent_at(path: Path, moments: list[tuple[int, int]], flow: Flow) -> list[tuple[int, int]]:
    """What arrives of bytes that are pushed at moments, and when."""
    got = []
    for t_ns, payload in moments:
        got += arrivals(path, t_ns)
        path.push("up", flow, payload, t_ns)
    return got + arrivals(path)


traces = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 30_000)), min_size=1, max_size=6)
pushes = st.lists(st.tuples(st.integers(0, 200 * MS), st.integers(1, 20_000)), min_size=1, max_size=20)
directions = st.builds(
    Direction,
    capacity=st.one_of(
        st.none(),
        traces.map(
            lambda pieces: Capacity(
                ms=[0, *accumulate(ms for ms, _ in pieces)], bytes=[0, *accumulate(carried for _, carried in pieces)]
            )
        ),
    ),
    delay_ms=st.floats(0, 200),
    jitter_ms=st.one_of(st.just(0.0), st.floats(0, 50)),
    loss=st.one_of(st.just(0.0), st.floats(0, 0.5)),
)


def moments(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    times = accumulate(wait_ns for wait_ns, _ in steps)
    return list(zip(times, (payload for _, payload in steps), strict=True))


@given(directions, pushes, st.integers(0, 3))
def test_all_bytes_arrive_once_in_order_and_none_before_its_delay(direction: Direction, steps, seed: int):
    path, sent = Path(link(direction, seed=seed), 0), moments(steps)
    got = sent_at(path, sent, Flow())
    assert sum(payload for _, payload in got) == sum(payload for _, payload in sent)
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(got))
    arrived, pushed = 0, list(accumulate(payload for _, payload in sent))
    least_ns = 0 if direction.jitter_ms else round(direction.delay_ms * MS)
    for t_ns, payload in got:
        arrived += payload
        first = next(index for index, total in enumerate(pushed) if total >= arrived)
        assert t_ns >= sent[first][0] + least_ns


@given(traces, pushes, st.floats(0, 0.3))
def test_no_window_carries_more_than_the_capacity_and_one_packet(pieces, steps, loss: float):
    trace = Capacity(ms=[0, *accumulate(ms for ms, _ in pieces)], bytes=[0, *accumulate(size for _, size in pieces)])
    path, reference = Path(link(Direction(capacity=trace, loss=loss), Direction()), 0), ByteBudget(trace, 0)
    flow, seen = Flow(), [(0, 0)]
    for t_ns, payload in moments(steps):
        while path.up.due_ns <= t_ns:
            due_ns = path.up.due_ns
            path.advance(due_ns)
            seen.append((due_ns, path.up.wire_bytes))
        path.advance(t_ns)
        path.push("up", flow, payload, t_ns)
    while path.up.due_ns < LATE_NS:
        due_ns = path.up.due_ns
        path.advance(due_ns)
        seen.append((due_ns, path.up.wire_bytes))
    carried = [reference.at(t_ns) for t_ns, _ in seen]
    for start in range(len(seen)):
        for end in range(start, len(seen)):
            assert seen[end][1] - seen[start][1] <= carried[end] - carried[start] + 1500 + 1e-3


@given(directions, pushes, st.integers(0, 3))
def test_when_the_clock_is_looked_at_does_not_matter_and_nothing_comes_before_it_is_due(
    direction: Direction, steps, seed: int
):
    sent = moments(steps)
    rarely = sent_at(Path(link(direction, seed=seed), 0), sent, Flow())
    path, flow, often = Path(link(direction, seed=seed), 0), Flow(), []
    for t_ns, payload in [*sent, (LATE_NS, 0)]:
        while (wake_ns := path.wake_ns()) < t_ns:
            assert arrivals(path, wake_ns - 1) == []
            often += arrivals(path, wake_ns)
        often += arrivals(path, t_ns)
        if payload:
            path.push("up", flow, payload, t_ns)
    assert often == rarely


def test_a_packet_takes_its_bytes_at_the_rate_and_then_the_delay():
    path = Path(link(Direction(capacity=constant(12), delay_ms=10)), 0)
    path.push("up", Flow(), FULL, 5 * MS)
    assert arrivals(path) == [(5 * MS + 1 * MS + 10 * MS, FULL)]


def test_without_conditions_everything_passes_at_once():
    path = Path(link(Direction()), 0)
    path.push("up", Flow(), 100_000, 7)
    got = arrivals(path, 7)
    assert {t_ns for t_ns, _ in got} == {7}
    assert sum(payload for _, payload in got) == 100_000


def test_a_saturated_path_never_loses_a_byte_of_capacity():
    path, flow = Path(link(Direction(capacity=constant(0.7)), Direction()), 3), Flow()
    path.push("up", flow, 1000 * FULL, 3)
    *_, (end_ns, _) = arrivals(path)
    assert end_ns == 3 + math.ceil(1000 * 1500 * 8 / 0.7e6 * 1e9)


def test_capacity_that_meets_no_packet_is_lost():
    path, flow = Path(link(Direction(capacity=constant(12))), 0), Flow()
    path.push("up", flow, FULL, 100 * MS)
    path.advance(200 * MS)
    path.push("up", flow, 2 * FULL, 200 * MS)
    assert arrivals(path) == [(201 * MS, FULL), (202 * MS, FULL)]


def test_a_packet_on_the_wire_when_the_trace_pauses_ends_after_the_pause():
    trace = Capacity(ms=[0, 10, 20, 30], bytes=[0, 1000, 1000, 2000])
    path = Path(link(Direction(capacity=trace)), 0)
    path.push("up", Flow(), FULL, 0)
    assert arrivals(path) == [(25 * MS, FULL)]


def test_small_writes_that_wait_travel_in_full_packets():
    path, flow = Path(link(Direction(capacity=constant(1)), Direction()), 0), Flow()
    for _ in range(300):
        path.push("up", flow, 100, 0)
    path.advance(LATE_NS)
    first_alone = 100 + IPV4_HEADER_BYTES
    rest = 299 * 100
    assert path.up.wire_bytes == first_alone + rest + math.ceil(rest / FULL) * IPV4_HEADER_BYTES


def test_every_second_segment_is_acknowledged_with_capacity_of_the_other_direction():
    path = Path(link(Direction(capacity=constant(1))), 0)
    path.push("up", Flow(), 11 * FULL, 0)
    path.advance(LATE_NS)
    assert path.up.wire_bytes == 11 * 1500
    assert path.down.wire_bytes == 5 * IPV4_HEADER_BYTES


def test_acknowledgements_go_on_for_as_long_as_the_way_back_takes_them():
    path = Path(link(Direction(capacity=constant(12))), 0)
    path.push("up", Flow(), 400 * FULL, 0)
    path.advance(LATE_NS)
    assert path.down.wire_bytes == 200 * IPV4_HEADER_BYTES


def test_acknowledgements_wake_nobody():
    path = Path(link(Direction(), Direction(capacity=constant(1))), 0)
    path.push("up", Flow(), 100 * FULL, 0)
    path.advance(0)
    assert path.wake_ns() == NEVER
    path.push("down", Flow(), 1, 0)
    assert path.wake_ns() < NEVER


def test_acknowledgements_delay_what_goes_their_way():
    down = Direction(capacity=Capacity(ms=[0, 1000], bytes=[0, 52_000]))
    path = Path(link(Direction(capacity=constant(12)), down), 0)
    path.push("up", Flow(), 2 * FULL, 0)
    path.advance(2 * MS)
    path.push("down", Flow(), 104 - IPV4_HEADER_BYTES, 2 * MS)
    assert arrivals(path)[-1] == (2 * MS + 1 * MS + 2 * MS, 104 - IPV4_HEADER_BYTES)


def test_a_slow_way_back_holds_few_acknowledgements():
    down = Direction(capacity=constant(0.001))
    path = Path(link(Direction(), down), 0)
    path.push("up", Flow(), 10_000 * FULL, 0)
    path.advance(1)
    assert path.rtt_ns(1) < 70 * 52 * 8 * MS


def test_connections_are_served_first_come_first_served():
    path, one, other = Path(link(Direction(capacity=constant(12))), 0), Flow(), Flow()
    path.push("up", one, 2 * FULL, 0)
    path.push("up", other, FULL, 0)
    path.push("up", one, FULL, 0)
    assert [flow for _, flow, _ in path.advance(LATE_NS)] == [one, one, other, one]


def test_a_lost_packet_comes_a_round_trip_later_and_holds_up_its_own_connection_alone():
    losses = Direction(capacity=constant(12), delay_ms=10, loss=0.2)
    seed = next(seed for seed in range(1000) if _lost(Path(link(losses, seed=seed), 0)) == [True, False, False, False])
    path, one, other = Path(link(losses, Direction(delay_ms=30), seed=seed), 0), Flow(), Flow()
    path.push("up", one, FULL, 0)
    path.push("up", other, FULL, 0)
    path.push("up", one, FULL, 0)
    came = [(t_ns, flow) for t_ns, flow, _ in path.advance(LATE_NS)]
    again_ns = (1 + 10 + 30 + 1 + 10) * MS
    assert came == [(12 * MS, other), (again_ns, one), (again_ns, one)]
    assert path.up.retransmits == 1
    assert path.up.wire_bytes == 4 * 1500


@given(st.lists(st.integers(1, 3 * FULL), min_size=1, max_size=20), st.integers(0, 3))
def test_what_is_sent_again_says_whose_it_is_where_in_its_stream_it_began_and_its_bytes(sizes: list[int], seed: int):
    path, flow = Path(link(Direction(capacity=constant(12), loss=0.3), Direction(), seed=seed), 0), Flow("edge")
    begun = set()
    for number, size in enumerate(sizes):  # each by itself, so that no packet is filled up by the next one
        begun |= set(range(flow.taken, flow.taken + size, FULL))
        path.push("up", flow, size, number * 1000 * MS)
        path.advance((number + 1) * 1000 * MS)
    packets = sum(math.ceil(size / FULL) for size in sizes)
    assert flow.taken == sum(sizes)
    assert len(path.up.again) == path.up.retransmits
    assert all(name == "edge" and at in begun for name, at, _ in path.up.again)
    once = sum(sizes) + packets * IPV4_HEADER_BYTES
    assert path.up.wire_bytes == once + sum(wire for _, _, wire in path.up.again)


def _lost(path: Path) -> list[bool]:
    """Which of four packets are lost the first time."""
    lost = []
    flow = Flow()
    for index in range(4):
        path.push("up", flow, FULL, index * 1000 * MS)
        before = path.up.retransmits
        path.advance((index + 1) * 1000 * MS)
        lost.append(path.up.retransmits > before)
        if lost[-1] and path.up.retransmits - before > 1:
            return []
    return lost


def test_a_packet_that_is_sent_again_goes_before_what_waits():
    direction = Direction(capacity=constant(12), loss=0.2)
    seed = next(
        seed for seed in range(1000) if _lost(Path(link(direction, seed=seed), 0)) == [True, False, False, False]
    )
    path, one, other = Path(link(direction, Direction(), seed=seed), 0), Flow(), Flow()
    path.push("up", one, FULL, 0)
    path.push("up", other, 2 * FULL, 0)
    assert [(t_ns, flow) for t_ns, flow, _ in path.advance(LATE_NS)] == [
        (2 * MS, other),
        (3 * MS, one),
        (4 * MS, other),
    ]


def test_the_share_of_lost_packets_is_the_one_asked_for():
    path = Path(link(Direction(loss=0.1), Direction()), 0)
    path.push("up", Flow(), 20_000 * FULL, 0)
    path.advance(LATE_NS)
    sent = path.up.wire_bytes / 1500
    assert path.up.retransmits / sent == pytest.approx(0.1, abs=0.01)


def test_jitter_spreads_delays_as_asked_and_never_reorders():
    path, flow, delays = Path(link(Direction(delay_ms=50, jitter_ms=5), Direction()), 0), Flow(), []
    for index in range(4000):
        t_ns = index * 1000 * MS
        path.push("up", flow, 1, t_ns)
        ((came_ns, _),) = arrivals(path, t_ns + 999 * MS)
        delays.append((came_ns - t_ns) / MS)
    mean = sum(delays) / len(delays)
    spread = math.sqrt(sum((delay - mean) ** 2 for delay in delays) / len(delays))
    assert mean == pytest.approx(50, abs=0.3)
    assert spread == pytest.approx(5, abs=0.3)


def test_the_same_seed_gives_the_same_path_and_another_gives_another():
    direction = Direction(capacity=constant(10), delay_ms=20, jitter_ms=5, loss=0.1)
    runs = [sent_at(Path(link(direction, seed=seed), 0), [(0, 100 * FULL)], Flow()) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_time_of_an_armed_path_begins_with_the_next_bytes_of_the_edge():
    trace = Capacity(ms=[0, 1000, 2000], bytes=[0, 1_500_000, 1_500_000])
    path, flow = Path(link(Direction(capacity=trace)), 0), Flow()
    path.advance(1500 * MS)
    path.arm()
    path.push("down", Flow(), FULL, 1500 * MS)
    path.advance(1600 * MS)
    path.push("up", flow, FULL, 1600 * MS)
    assert arrivals(path, 1700 * MS) == [(1601 * MS, FULL), (1601 * MS, FULL)]
    path.advance(2700 * MS)
    path.push("up", flow, FULL, 2700 * MS)
    assert arrivals(path) == [(3601 * MS, FULL)]


def test_an_armed_path_has_the_chances_of_a_new_one():
    direction = Direction(delay_ms=20, jitter_ms=5, loss=0.1)
    fresh = sent_at(Path(link(direction), 0), [(0, 50 * FULL)], Flow())
    used = Path(link(direction), 0)
    sent_at(used, [(0, 77 * FULL)], Flow())
    later_ns = LATE_NS + 1
    used.arm()
    used.push("up", Flow(), 50 * FULL, later_ns)
    assert [(t_ns - later_ns, payload) for t_ns, payload in arrivals(used, 2 * LATE_NS)] == fresh


@pytest.mark.parametrize("capacity", [None, constant(12)])
def test_what_is_sent_while_the_link_is_down_waits(capacity: Capacity | None):
    path, flow = Path(link(Direction(capacity=capacity, delay_ms=1)), 0), Flow()
    path.disturb(Disturbance(down=True), 0)
    path.push("up", flow, FULL, 0)
    assert arrivals(path, 500 * MS) == []
    assert path.rtt_ns(500 * MS) is None
    path.disturb(Disturbance(), 500 * MS)
    took_ms = 1 if capacity is None else 2
    assert arrivals(path) == [((500 + took_ms) * MS, FULL)]


def test_the_packet_on_the_wire_feels_a_lower_rate_from_its_moment_on():
    path = Path(link(Direction(capacity=constant(12))), 0)
    path.push("up", Flow(), FULL, 0)
    path.advance(MS // 2)
    path.disturb(Disturbance(rate=0.1), MS // 2)
    assert arrivals(path) == [(MS // 2 + 5 * MS, FULL)]


def test_a_delay_spike_reorders_nothing_when_it_ends():
    path, flow = Path(link(Direction(delay_ms=1)), 0), Flow()
    path.disturb(Disturbance(delay_ms=100), 0)
    path.push("up", flow, 1, 0)
    path.advance(10 * MS)
    path.disturb(Disturbance(), 10 * MS)
    path.push("up", flow, 2, 10 * MS)
    assert arrivals(path) == [(101 * MS, 1), (101 * MS, 2)]


def test_the_end_of_a_connection_travels_behind_its_bytes():
    path, flow = Path(link(Direction(capacity=constant(12), delay_ms=1)), 0), Flow()
    path.push("up", flow, FULL, 0)
    path.push("up", flow, 0, 0)
    (first, last) = arrivals(path)
    assert first == (2 * MS, FULL)
    assert last[1] == 0
    assert last[0] > first[0]


def test_room_ends_with_the_queue_and_returns_before_it_is_empty():
    path, flow = Path(link(Direction(capacity=constant(12), queue_ms=20)), 0), Flow()
    room = path.up.room(0)
    assert room == 20 * 1500
    path.push("up", flow, room, 0)
    assert path.up.room(0) == 0
    path.advance(10 * MS)
    assert 0 < path.up.room(10 * MS) < room


def test_two_packets_may_wait_however_slow_the_link_is():
    path, flow = Path(link(Direction(capacity=constant(0.001), queue_ms=0)), 0), Flow()
    assert path.up.room(0) == 2 * FULL
    path.push("up", flow, 3 * FULL, 0)
    assert path.up.room(0) == 0


def test_small_writes_that_fill_a_packet_take_room():
    path, flow = Path(link(Direction(capacity=constant(12), queue_ms=20)), 0), Flow()
    path.push("up", flow, 100, 0)
    path.push("up", flow, 100, 0)
    before = path.up.room(0)
    path.push("up", flow, 1000, 0)
    assert path.up.room(0) == before - 1000


@pytest.mark.parametrize("capacity", [None, constant(12)])
def test_a_link_that_is_down_takes_in_two_packets(capacity: Capacity | None):
    path, flow = Path(link(Direction(capacity=capacity)), 0), Flow()
    path.disturb(Disturbance(down=True), 0)
    path.push("up", flow, FULL, 0)
    assert path.up.room(0) == 2 * FULL
    path.push("up", flow, 3 * FULL, 0)
    assert path.up.room(0) == 0


def test_the_round_trip_tells_what_waits():
    path = Path(link(Direction(capacity=constant(12), delay_ms=10), Direction(delay_ms=5)), 0)
    small_ns = math.ceil(IPV4_HEADER_BYTES * 8 / 12e6 * 1e9)
    assert path.rtt_ns(0) == pytest.approx(15 * MS + small_ns, abs=2)
    path.push("up", Flow(), 100 * FULL, 0)
    assert path.rtt_ns(0) == pytest.approx(15 * MS + 100 * MS + small_ns, abs=2)


def test_an_abandoned_connection_hands_on_nothing_and_still_takes_its_room():
    path, gone, other = Path(link(Direction(capacity=constant(12))), 0), Flow(), Flow()
    path.push("up", gone, FULL, 0)
    path.push("up", other, FULL, 0)
    gone.abandon()
    assert path.advance(LATE_NS) == [(2 * MS, other, FULL)]
