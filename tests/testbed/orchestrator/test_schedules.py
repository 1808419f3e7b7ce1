"""The schedule that an edge is told: chosen by what its nodes say and its link, once for all repeats of a cell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from devices.links.load import load_link
from devices.links.vary import vary
from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.messages import CellConfig
from testbed.orchestrator.schedules import follow, stages_of
from testbed.record.noderecord import Loaded
from testbed.record.schedules import AutoSchedule, Call, ChosenSchedule, StageTimes

EDGE = StageTimes(
    calls=[Call(1, 2.0), Call(2, 3.0), Call(4, 5.0)], first_ms=1.0, code_ms=0.1, message_bytes=1250, rtt_ms=0.3
)
CLOUD = StageTimes(calls=[Call(1, 1.0), Call(2, 1.5), Call(4, 2.0)], code_ms=0.2)
AUTO = AutoSchedule(exits=[0.0, 0.0, 0.0, 1.0], sizes=[1, 2, 4])
SLOW = vary(load_link("ethernet"), mbit_s=10, rtt_ms=40, loss=0)


class Crew:
    """Two workers that say what they take; the edge keeps what it is told."""

    def __init__(self) -> None:
        self.edges = [SimpleNamespace(node=SimpleNamespace(id="board"))]
        self.told: dict[str, messages.Follow] = {}

    async def follow(self, edge: str, schedule: messages.Follow) -> None:
        self.told[edge] = schedule


def followed(auto: AutoSchedule | None = AUTO, edge: StageTimes | None = EDGE, link: Any = None, **attempt: Any) -> Any:
    """What was chosen, and what the edge was told."""
    crew = Crew()
    given = SimpleNamespace(
        config=CellConfig(mode="co_inference", timeout_ms=1000, codec="packed", schedule=auto),
        link=link,
        schedules={},
        ids=lambda role: ["server"],
    )
    vars(given).update(attempt)
    loaded = {
        name: messages.Loaded(data_endpoint=None, detail=Loaded(stages=stages))
        for name, stages in (("board", edge), ("server", CLOUD))
    }
    return asyncio.run(follow(crew, given, loaded)), crew.told  # type: ignore[arg-type]


def test_a_chunk_takes_its_call_and_a_code_for_each_timestep() -> None:
    stages = stages_of(EDGE, CLOUD, None)
    assert stages.edge_ms == {1: 2.1, 2: 3.2, 4: 5.4}
    assert stages.cloud_ms == pytest.approx({1: 1.2, 2: 1.9, 4: 2.8})
    assert stages.first_ms == 1.0


def test_without_a_link_the_round_trip_is_what_tcp_has_measured_and_sending_takes_no_time() -> None:
    assert (stages_of(EDGE, CLOUD, None).rtt_ms, stages_of(EDGE, CLOUD, None).up_ms) == (0.3, 0.0)
    assert stages_of(replace(EDGE, rtt_ms=None), CLOUD, None).rtt_ms == 0.0


def test_a_link_has_the_round_trip_and_the_rate_that_it_was_asked_for() -> None:
    stages = stages_of(EDGE, CLOUD, SLOW)
    assert stages.rtt_ms == pytest.approx(40)
    assert stages.up_ms == pytest.approx(1.0)  # 1250 B at 10 Mbit/s


def test_where_nothing_exits_a_far_cloud_is_asked_ahead() -> None:
    chosen, _ = followed(link=SLOW)
    assert chosen["board"].latency_ms < 60 < 4 * 40 < chosen["board"].stop_and_wait_ms


def test_the_edge_is_told_what_was_chosen_and_what_is_expected_is_kept() -> None:
    chosen, told = followed()
    assert told == {"board": messages.Follow(window=chosen["board"].window, chunks=chosen["board"].chunks)}
    assert sum(chosen["board"].chunks) == 4
    assert 0 < chosen["board"].latency_ms <= chosen["board"].stop_and_wait_ms
    assert chosen["board"].stop_and_wait_ms == pytest.approx(1 + 4 * (2.1 + 0.3 + 1.2))


def test_what_the_first_repeat_chose_the_others_do_whatever_nodes_say_now() -> None:
    before = ChosenSchedule(window=3, chunks=[2, 2], latency_ms=1, stop_and_wait_ms=2, edge_ms=1, wasted_timesteps=0)
    chosen, told = followed(schedules={"board": before})
    assert chosen == {"board": before}
    assert told == {"board": messages.Follow(window=3, chunks=[2, 2])}


def test_a_cell_that_says_its_own_schedule_is_told_none() -> None:
    assert followed(auto=None) == ({}, {})


def test_a_node_that_does_not_say_what_it_takes_is_named() -> None:
    with pytest.raises(WorkerError, match="board does not say how long its graphs take"):
        followed(edge=None)
