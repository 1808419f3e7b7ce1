"""The schedule of cells that leave it to the testbed: chosen when all is loaded, and followed by every repeat."""

from __future__ import annotations

from collections.abc import Mapping

from devices.links.conditions import Link
from testbed.errors import WorkerError
from testbed.link import messages
from testbed.modes.schedule import Schedule, Stages, choose, expect
from testbed.orchestrator.attempt import Attempt
from testbed.orchestrator.crew import Crew
from testbed.record.schedules import AutoSchedule, ChosenSchedule, StageTimes


async def follow(crew: Crew, attempt: Attempt, loaded: Mapping[str, messages.Loaded]) -> dict[str, ChosenSchedule]:
    """Have each edge follow its schedule: that of the cell's first repeat, or the best one for what nodes say now.

    Returns:
        It by edge; empty where the cell has a schedule of its own.

    Raises:
        TestbedError: a node does not say how long it takes, or an edge cannot be told.
    """
    auto = attempt.config.schedule
    if auto is None:
        return {}
    chosen: dict[str, ChosenSchedule] = {}
    (cloud,) = attempt.ids("cloud")
    for edge in crew.edges:
        name = edge.node.id
        chosen[name] = attempt.schedules.get(name) or _best(
            auto, _said(name, loaded), _said(cloud, loaded), attempt.link
        )
        await crew.follow(name, messages.Follow(window=chosen[name].window, chunks=chosen[name].chunks))
    return chosen


def _said(node: str, loaded: Mapping[str, messages.Loaded]) -> StageTimes:
    stages = loaded[node].detail.stages
    if stages is None:
        raise WorkerError(f"{node} does not say how long its graphs take, so no schedule can be chosen")
    return stages


def _best(auto: AutoSchedule, edge: StageTimes, cloud: StageTimes, link: Link | None) -> ChosenSchedule:
    stages = stages_of(edge, cloud, link)
    schedule, expected = choose(stages, auto.exits)
    alone = expect(Schedule(1, (1,) * len(auto.exits)), stages, auto.exits)
    return ChosenSchedule(
        window=schedule.window,
        chunks=list(schedule.chunks),
        latency_ms=round(expected.latency_ms, 3),
        stop_and_wait_ms=round(alone.latency_ms, 3),
        edge_ms=round(expected.edge_ms, 3),
        wasted_timesteps=round(expected.wasted_timesteps, 4),
    )


def stages_of(edge: StageTimes, cloud: StageTimes, link: Link | None) -> Stages:
    """What the two sides say of themselves, and the link that was asked for, or else the path that TCP has measured."""
    capacity = None if link is None else link.up.capacity
    delay_ms = (edge.rtt_ms or 0.0) if link is None else link.up.delay_ms + link.down.delay_ms
    return Stages(
        edge_ms={call.timesteps: call.ms + call.timesteps * edge.code_ms for call in edge.calls},
        cloud_ms={call.timesteps: call.ms + call.timesteps * cloud.code_ms for call in cloud.calls},
        first_ms=edge.first_ms,
        up_ms=0.0 if capacity is None else 1e3 * edge.message_bytes / capacity.mean_bytes_per_s,
        rtt_ms=delay_ms,
    )
