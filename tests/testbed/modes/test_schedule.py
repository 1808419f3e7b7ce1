"""The timeline of a request under a schedule, and the schedule that answers soonest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from testbed.modes.schedule import WITHIN, Schedule, Stages, choose, expect, may_go, schedules

AT_THE_END = (0.0, 0.0, 0.0, 1.0)
AT_ONCE = (1.0, 0.0, 0.0, 0.0)


def stages(edge=2.0, cloud=1.0, up=0.0, rtt=20.0, call=0.0, first=0.0) -> Stages:
    """A chunk takes `call` for its call and the rest for each timestep."""
    return Stages(
        edge_ms={size: call + size * edge for size in range(1, 5)},
        cloud_ms={size: size * cloud for size in range(1, 5)},
        first_ms=first,
        up_ms=up,
        rtt_ms=rtt,
    )


def test_stop_and_wait_takes_a_round_trip_for_each_timestep() -> None:
    found = expect(Schedule(1, (1, 1, 1, 1)), stages(), AT_THE_END)
    assert found.latency_ms == 4 * (2 + 20 + 1)
    assert found.edge_ms == 4 * 2
    assert found.wasted_timesteps == 0


def test_streaming_takes_one_round_trip() -> None:
    found = expect(Schedule(4, (1, 1, 1, 1)), stages(), AT_THE_END)
    assert found.latency_ms == 4 * 2 + 20 + 1


def test_a_window_of_two_takes_half_the_round_trips() -> None:
    # 2 and 4: sent; 23: first answer, third computed until 25; 25: second answer, fourth until 27; its answer 21 later.
    found = expect(Schedule(2, (1, 1, 1, 1)), stages(), AT_THE_END)
    assert found.latency_ms == 27 + 20 + 1


def test_streaming_computes_in_vain_until_the_confident_answer_is_there() -> None:
    found = expect(Schedule(4, (1, 1, 1, 1)), stages(rtt=3), AT_ONCE)
    # The answer to the first comes at 2 + 3 + 1 = 6, when the third is done.
    assert found.latency_ms == 6
    assert found.wasted_timesteps == 2
    assert found.edge_ms == 6


def test_an_answer_that_comes_while_the_edge_computes_is_seen_when_that_is_done() -> None:
    found = expect(Schedule(4, (1, 1, 1, 1)), stages(edge=10, rtt=3), AT_ONCE)
    assert found.latency_ms == 20
    assert found.wasted_timesteps == 1


def test_an_answer_that_comes_while_the_last_chunk_is_computed_is_seen_when_that_is_done() -> None:
    found = expect(Schedule(4, (2, 2)), stages(edge=10, rtt=3), AT_ONCE)
    assert found.latency_ms == 40
    assert found.wasted_timesteps == 3


def test_a_slow_cloud_or_uplink_holds_up_what_follows() -> None:
    assert expect(Schedule(4, (1, 1, 1, 1)), stages(cloud=30), AT_THE_END).latency_ms == 2 + 20 + 4 * 30
    assert expect(Schedule(4, (1, 1, 1, 1)), stages(up=30), AT_THE_END).latency_ms == 2 + 4 * 30 + 20 + 1


def test_what_is_computed_once_comes_before_the_first_timestep() -> None:
    found = expect(Schedule(4, (4,)), stages(first=7), AT_THE_END)
    assert found.latency_ms == 7 + 8 + 20 + 4
    assert found.edge_ms == 7 + 8


def test_the_mean_is_over_the_requests_exits() -> None:
    schedule = Schedule(1, (1, 1, 1, 1))
    found = expect(schedule, stages(), (0.5, 0.0, 0.0, 0.5))
    assert found.latency_ms == (23 + 4 * 23) / 2


def test_where_requests_go_on_to_the_end_a_far_cloud_is_asked_once() -> None:
    schedule, _ = choose(stages(call=1.0, rtt=50), AT_THE_END)
    assert schedule.chunks == (1, 3) or schedule.window > 1
    assert expect(schedule, stages(call=1.0, rtt=50), AT_THE_END).latency_ms < 50 + 20


def test_where_all_requests_exit_at_once_nothing_is_computed_in_vain() -> None:
    schedule, found = choose(stages(), AT_ONCE)
    assert schedule.chunks[0] == 1
    assert found.wasted_timesteps == 0
    assert schedule.window == 1


def test_among_equals_the_edge_computes_least() -> None:
    for rtt in (0.1, 5.0, 60.0):
        chosen, found = choose(stages(rtt=rtt), (0.6, 0.2, 0.1, 0.1))
        for other in schedules(4, (1, 2, 3, 4)):
            its = expect(other, stages(rtt=rtt), (0.6, 0.2, 0.1, 0.1))
            assert its.latency_ms >= found.latency_ms / WITHIN, (chosen, other)
            assert its.latency_ms > found.latency_ms or its.edge_ms >= found.edge_ms, (chosen, other)


def test_a_chunk_may_always_go_when_nothing_is_unanswered() -> None:
    assert may_go(0, 4, 1)
    assert may_go(1, 1, 2)
    assert not may_go(1, 2, 2)


def test_every_chunking_of_a_few_timesteps_is_tried_and_windows_that_change_nothing_are_not() -> None:
    found = list(schedules(4, (1, 2, 3, 4)))
    assert len(found) == len(set(found))
    assert {each.chunks for each in found} == {
        chunks for count in range(1, 5) for chunks in itertools.product((1, 2, 3, 4), repeat=count) if sum(chunks) == 4
    }
    assert [each.window for each in found if each.chunks == (4,)] == [1]
    assert [each.window for each in found if each.chunks == (1, 1, 1, 1)] == [1, 2, 3, 4]
    assert [each.window for each in found if each.chunks == (2, 2)] == [1, 4]


def test_of_very_many_timesteps_the_first_chunk_alone_differs() -> None:
    found = {each.chunks for each in schedules(16, tuple(range(1, 17)))}
    assert (1, *[5] * 3) in found
    assert all(len(set(chunks[1:])) <= 1 and sum(chunks) == 16 for chunks in found)


@pytest.mark.parametrize("seed", range(5))
def test_a_wider_window_never_answers_later_where_nothing_exits(seed) -> None:
    edge, cloud, up, rtt = np.random.default_rng(seed).uniform(0.1, 30, 4)
    found = [
        expect(Schedule(window, (1, 1, 1, 1)), stages(edge, cloud, up, rtt), AT_THE_END).latency_ms
        for window in (1, 2, 3, 4)
    ]
    assert found == sorted(found, reverse=True)
