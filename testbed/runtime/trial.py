"""How many threads a graph gets, and whether they spin: tried when it is loaded, as it will be called."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from testbed.runtime.onnx import OnnxGraph

FEWEST, MOST = 3, 7
"""Calls that a median is of: the most, unless they take longer than `TRIAL_NS`."""

TRIAL_NS = 500_000_000

WORTH = 0.95
"""More threads, or threads that spin, are taken where they save a twentieth of the time: they draw more power."""


Trial: TypeAlias = Callable[[Callable[[], object]], int]
"""Runs something, and says how long that takes, in ns."""


def clocked(run: Callable[[], object]) -> int:
    """A trial by the clock."""
    start_ns = time.monotonic_ns()
    run()
    return time.monotonic_ns() - start_ns


def median_ms(run: Callable[[], object], trial: Trial = clocked) -> float:
    """Median time of a call, after a first one that does not count."""
    trial(run)
    times: list[int] = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < TRIAL_NS):
        times.append(trial(run))
    return statistics.median(times) / 1e6


def step_ms(graph: OnnxGraph, trial: Trial = clocked) -> float:
    """Median time of a call from rest; how long it takes does not depend on what comes in."""
    x, state = graph.blank(), graph.initial_state()
    return median_ms(lambda: graph.step(x, state), trial)


def load(
    path: Path, most: int, provider: str, *, tried: bool, time_ms: Callable[[OnnxGraph], float] = step_ms
) -> tuple[OnnxGraph, dict[str, float]]:
    """A graph on at most so many threads, and what each way that was tried took, in ms.

    One thread is tried, then twice as many for as long as that is worth it, each time without and with spinning.
    Without a trial a graph gets all threads, and none spins. A GPU gets no trial: threads do next to nothing for it.

    Raises:
        ModelError: the graph is missing, or cannot be run.
    """
    if not tried or most == 1 or provider != "cpu":
        return OnnxGraph(path, most, provider), {}
    best = OnnxGraph(path, 1)
    trial_ms = {_name(best): time_ms(best)}
    for threads in _doubled(most):
        before = best
        for spinning in (False, True):
            graph = OnnxGraph(path, threads, spinning=spinning)
            trial_ms[_name(graph)] = time_ms(graph)
            if trial_ms[_name(graph)] < WORTH * trial_ms[_name(best)]:
                best = graph
        if best is before:
            break
    return best, trial_ms


def _name(graph: OnnxGraph) -> str:
    return f"{graph.threads}{' spinning' if graph.spinning else ''}"


def _doubled(most: int) -> Iterator[int]:
    """2, 4, 8 and so on, and the most."""
    threads = 2
    while threads < most:
        yield threads
        threads *= 2
    yield most
