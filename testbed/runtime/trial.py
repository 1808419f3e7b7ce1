"""How many threads a graph gets, and whether they spin: tried when it is loaded, as it will be called."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from devices.profile import Runtime
from testbed.errors import ModelError
from testbed.runtime.graph import Graph, one_line
from testbed.runtime.onnx import OnnxGraph

FEWEST, MOST = 3, 7
"""Calls that a median is of: the most, unless they take longer than `TRIAL_NS`."""

TRIAL_NS = 500_000_000

WORTH = 0.95
"""More threads, or threads that spin, are taken where they save a twentieth of the time: they draw more power."""


Trial: TypeAlias = Callable[[Callable[[], object]], float]
"""Runs something, and says how long that takes, in ms."""


def median_ms(run: Callable[[], object]) -> float:
    """Median time of a call by the clock, after a first one that does not count."""
    run()
    times: list[int] = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < TRIAL_NS):
        start_ns = time.monotonic_ns()
        run()
        times.append(time.monotonic_ns() - start_ns)
    return statistics.median(times) / 1e6


def step_ms(graph: Graph, trial: Trial = median_ms) -> float:
    """What a call from rest takes; it does not depend on what comes in."""
    x, state = graph.blank(), graph.initial_state()
    return trial(lambda: graph.step(x, state))


def opened(path: Path, runtime: Runtime) -> Graph:
    """A graph on all of a runtime's threads.

    Raises:
        ModelError: the graph is missing, or the runtime is, or it cannot run it.
    """
    if runtime.provider != "torch":
        return OnnxGraph(path, runtime.threads, runtime.provider)
    try:
        from testbed.runtime.torch.graph import TorchGraph  # only where it is asked for: a node need not have torch
    except ImportError as error:
        raise ModelError(
            f"runtime.provider torch needs PyTorch, which {sys.executable} cannot import ({one_line(error)}); install "
            "it (on a Jetson NVIDIA's own wheel for its JetPack), or set `runtime: {provider: cpu}`"
        ) from error
    return TorchGraph(path, runtime.threads, runtime.device or "cpu")


def load(
    path: Path, runtime: Runtime, *, tried: bool, time_ms: Callable[[Graph], float] = step_ms
) -> tuple[Graph, dict[str, float]]:
    """A graph on at most a runtime's threads, and what each way that was tried took, in ms.

    One thread is tried, then twice as many for as long as that is worth it, each time without and with spinning.
    Without a trial a graph gets all threads, and none spins. A GPU gets no trial: threads do next to nothing for it.
    Nor does PyTorch, whose threads are the whole process's.

    Raises:
        ModelError: the graph is missing, or cannot be run.
    """
    most = runtime.threads
    if not tried or most == 1 or runtime.provider != "cpu":
        return opened(path, runtime), {}
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


def _name(graph: Graph) -> str:
    return f"{graph.threads}{' spinning' if graph.spinning else ''}"


def _doubled(most: int) -> Iterator[int]:
    """2, 4, 8 and so on, and the most."""
    threads = 2
    while threads < most:
        yield threads
        threads *= 2
    yield most
