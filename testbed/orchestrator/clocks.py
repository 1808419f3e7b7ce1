"""Clock exchanges with the workers before, during and after a measurement, and the lines through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Literal

from testbed.errors import TestbedError
from testbed.link.clock import ClockOffset, estimate, line
from testbed.orchestrator.worker import CLOCK_EXCHANGES, Worker
from testbed.record.schema import ClockEstimate, ClockLine

DURING_EXCHANGES = 4
DURING_PERIOD_S = 5.0
"""While it measures, a worker's control thread answers less than one ping a second; it sends two heartbeats."""

When = Literal["before", "during", "after"]


async def exchange(
    workers: Collection[Worker], repeat: int, when: When, count: int = CLOCK_EXCHANGES
) -> list[ClockEstimate]:
    """One estimate for each worker, from `count` exchanges with it.

    Raises:
        TestbedError: a worker does not answer, or a clock ran backwards.
    """
    estimates = []
    for worker in workers:
        exchanges, wall_offset_ns = await worker.exchange_clocks(count, aside=when == "during")
        offset = estimate(exchanges)
        estimates.append(
            ClockEstimate(
                node=worker.node.id,
                repeat=repeat,
                when=when,
                t_ns=offset.t_ns,
                offset_ns=offset.offset_ns,
                bound_ns=offset.bound_ns,
                rtt_ns=offset.rtt_ns,
                exchanges=offset.exchanges,
                wall_offset_ns=wall_offset_ns,
            )
        )
    return estimates


@contextlib.asynccontextmanager
async def during(present: Callable[[], Collection[Worker]], repeat: int) -> AsyncIterator[list[ClockEstimate]]:
    """Exchange now and then for as long as the block lasts, with those present each time; the list grows meanwhile.

    Raises:
        TestbedError: an exchange failed, though the block itself did not.
    """
    found: list[ClockEstimate] = []
    exchanging = asyncio.ensure_future(_now_and_then(present, repeat, found))
    try:
        yield found
    finally:
        exchanging.cancel()
        await asyncio.wait({exchanging})
        failure = None if exchanging.cancelled() else exchanging.exception()
    if failure is not None:
        raise failure


def lines(estimates: Sequence[ClockEstimate]) -> list[ClockLine]:
    """Offset and skew of each node over the repeat that the estimates are of.

    Raises:
        LinkError: a node has a single estimate.
    """
    found: dict[tuple[str, int], list[ClockOffset]] = {}
    for each in estimates:
        offset = ClockOffset(each.offset_ns, each.bound_ns, each.rtt_ns, each.exchanges, each.t_ns)
        found.setdefault((each.node, each.repeat), []).append(offset)
    return [line(offsets, node=node, repeat=repeat) for (node, repeat), offsets in found.items()]


async def _now_and_then(present: Callable[[], Collection[Worker]], repeat: int, found: list[ClockEstimate]) -> None:
    while True:
        for worker in present():
            try:
                found += await exchange([worker], repeat, "during", DURING_EXCHANGES)
            except TestbedError:  # noqa: PERF203  (once in seconds)
                if worker in present():  # else a fault struck it meanwhile
                    raise
        await asyncio.sleep(DURING_PERIOD_S)
