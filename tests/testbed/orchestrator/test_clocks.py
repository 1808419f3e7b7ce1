from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from testbed.errors import WorkerError
from testbed.link.clock import Exchange
from testbed.orchestrator import clocks


class Node:
    """A worker whose clock runs 5 s ahead and gains a thousandth, and which may be gone at some exchange."""

    node = SimpleNamespace(id="board")

    def __init__(self, gone_at: int = 99) -> None:
        self.asked: list[tuple[int, bool]] = []
        self.answered = asyncio.Event()
        self._gone_at = gone_at

    async def exchange_clocks(self, count: int, *, aside: bool) -> tuple[list[Exchange], int]:
        if len(self.asked) == self._gone_at:
            raise WorkerError("board is gone")
        self.asked.append((count, aside))
        self.answered.set()
        t1 = 1_000_000_000 * len(self.asked)
        there = t1 + t1 // 1000 + 5_000_000_000
        return [Exchange(t1, there + 10, there + 20, t1 + 30)] * count, 7


def test_exchanges_go_on_while_the_block_lasts_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "DURING_PERIOD_S", 0.0)

    async def scenario() -> tuple[Node, list[clocks.ClockEstimate], int]:
        node = Node()
        async with clocks.during(lambda: [node], 3) as found:
            while len(found) < 3:
                node.answered.clear()
                await node.answered.wait()
        count = len(node.asked)
        await asyncio.sleep(0)
        return node, found, count

    node, found, count = asyncio.run(scenario())
    assert len(node.asked) == count
    assert set(node.asked) == {(clocks.DURING_EXCHANGES, True)}
    assert {(each.node, each.repeat, each.when, each.wall_offset_ns) for each in found} == {("board", 3, "during", 7)}


def test_an_exchange_that_fails_is_an_error_even_if_the_measurement_was_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "DURING_PERIOD_S", 0.0)

    async def scenario() -> None:
        node = Node(gone_at=1)
        async with clocks.during(lambda: [node], 0):
            await node.answered.wait()
            for _ in range(5):
                await asyncio.sleep(0)

    with pytest.raises(WorkerError, match="board is gone"):
        asyncio.run(scenario())


def test_a_node_that_a_fault_struck_meanwhile_is_left_out() -> None:
    async def scenario() -> int:
        struck = Node(gone_at=0)
        present = [struck]

        def there() -> list[Node]:
            return [present.pop()] if present else []

        async with clocks.during(there, 0) as found:
            for _ in range(10):
                await asyncio.sleep(0)
        return len(found)

    assert asyncio.run(scenario()) == 0


def test_what_goes_wrong_in_the_block_is_what_is_raised() -> None:
    async def scenario() -> None:
        node = Node(gone_at=0)
        async with clocks.during(lambda: [node], 0):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise ValueError("the measurement failed")

    with pytest.raises(ValueError, match="the measurement failed"):
        asyncio.run(scenario())


def test_the_lines_of_each_node_and_repeat_are_its_own() -> None:
    async def scenario() -> list[clocks.ClockEstimate]:
        node = Node()
        return [
            estimate
            for repeat in (0, 1)
            for when in ("before", "after")
            for estimate in await clocks.exchange([node], repeat, when, 2)
        ]

    found = clocks.lines(asyncio.run(scenario()))
    assert [(each.node, each.repeat) for each in found] == [("board", 0), ("board", 1)]
    assert all(each.skew_ppm == pytest.approx(1000, abs=0.1) for each in found)
