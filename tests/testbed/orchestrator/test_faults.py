"""Faults happen at their time, are undone after theirs, and are on record; what they strike is waited for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from testbed.errors import DeployError, WorkerError
from testbed.link.shaping.shaper import Disturbance
from testbed.orchestrator.faults import Faults, together
from testbed.record.faults import FaultDocument, FaultKind
from testbed.record.noderecord import Role


def fault(
    kind: FaultKind,
    *,
    at_s: float | None = 0.0,
    at_request: int | None = None,
    for_s: float = 0.1,
    factor: float | None = None,
    add_ms: float | None = None,
) -> FaultDocument:
    at_s = at_s if at_request is None else None
    return FaultDocument(fault=kind, at_s=at_s, at_request=at_request, for_s=for_s, factor=factor, add_ms=add_ms)


class Hands:
    """Keeps what it is asked to do, in order."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.refuse: Exception | None = None

    async def disturb(self, disturbance: Disturbance) -> None:
        self.done.append(disturbance)

    def one_of(self, role: Role) -> str:
        return {"edge": "board", "cloud": "server"}[role]

    async def signal(self, node: str, number: signal.Signals) -> None:
        self.done.append((node, number))

    async def begin_again(self, node: str) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.done.append((node, "began again"))


def play(*faults: FaultDocument, seconds: float = 0.5, answered: Callable[[], int] = lambda: 0) -> tuple[Hands, Faults]:
    hands = Hands()

    async def all_of_it() -> Faults:
        playing = Faults(faults, hands, answered)
        playing.begin()
        await asyncio.sleep(seconds)
        await playing.end()
        return playing

    return hands, asyncio.run(all_of_it())


def test_a_link_is_disturbed_and_then_as_before():
    hands, played = play(fault("link_rate", factor=0.25))
    assert hands.done == [Disturbance(rate=0.25), Disturbance()]
    (record,) = played.records
    assert record.fault == "link_rate"
    assert record.until_ns is not None
    assert record.until_ns - record.from_ns >= 0.1e9


def test_faults_of_a_link_at_one_time_add_up():
    faults = [fault("link_rate", factor=0.5), fault("link_rate", factor=0.1), fault("link_delay", add_ms=20)]
    assert together(faults) == Disturbance(rate=0.05, delay_ms=20)
    assert together([*faults, fault("link_down")]).down
    hands, _ = play(fault("link_down", for_s=0.3), fault("link_delay", at_s=0.1, add_ms=20))
    assert hands.done == [
        Disturbance(down=True),
        Disturbance(down=True, delay_ms=20),
        Disturbance(down=True),
        Disturbance(),
    ]


def test_a_stopped_cloud_goes_on_and_a_killed_one_is_replaced():
    hands, _ = play(fault("cloud_stopped"))
    assert hands.done == [("server", signal.SIGSTOP), ("server", signal.SIGCONT)]
    hands, _ = play(fault("cloud_killed"))
    assert hands.done == [("server", signal.SIGKILL), ("server", "began again")]
    hands, _ = play(fault("edge_killed"))
    assert hands.done == [("board", signal.SIGKILL), ("board", "began again")]


def test_a_fault_may_wait_for_a_request():
    counts = iter([*[3] * 5, *[4] * 1000])
    hands, played = play(fault("link_down", at_request=4), answered=lambda: next(counts))
    assert hands.done == [Disturbance(down=True), Disturbance()]
    assert len(played.records) == 1


def test_a_fault_whose_time_does_not_come_does_not_happen():
    hands, played = play(fault("link_down", at_s=60), fault("link_delay", add_ms=5), seconds=0.05)
    assert hands.done == [Disturbance(delay_ms=5), Disturbance()]
    assert [record.fault for record in played.records] == ["link_delay"]


def test_whoever_is_struck_is_waited_for_until_it_is_back():
    hands = Hands()

    async def wait() -> list[bool]:
        playing = Faults([fault("cloud_killed", for_s=0.2)], hands, lambda: 0)
        playing.begin()
        await asyncio.sleep(0.05)
        seen = [playing.on("server"), playing.on("board")]
        await playing.over("server")
        return [*seen, playing.on("server"), ("server", "began again") in hands.done]

    assert asyncio.run(wait()) == [True, False, False, True]


def test_a_worker_that_does_not_come_back_fails_the_repeat():
    hands = Hands()
    hands.refuse = DeployError("server: no room")

    async def wait() -> None:
        playing = Faults([fault("cloud_killed")], hands, lambda: 0)
        playing.begin()
        await asyncio.sleep(0.02)
        waiting = asyncio.ensure_future(playing.over("server"))
        with pytest.raises(DeployError, match="no room"):
            await playing.end()
        with pytest.raises(DeployError, match="no room"):
            await waiting

    asyncio.run(wait())


def test_two_faults_on_one_worker_at_once_are_refused():
    with pytest.raises(WorkerError, match="two faults at once"):
        play(fault("cloud_stopped", for_s=0.3), fault("cloud_killed", at_s=0.1))


def test_dropped_faults_let_a_stopped_worker_go_on():
    hands = Hands()

    async def drop() -> None:
        playing = Faults([fault("cloud_stopped", for_s=60)], hands, lambda: 0)
        playing.begin()
        await asyncio.sleep(0.05)
        playing.drop()
        await asyncio.sleep(0.05)

    asyncio.run(drop())
    assert hands.done == [("server", signal.SIGSTOP), ("server", signal.SIGCONT)]
