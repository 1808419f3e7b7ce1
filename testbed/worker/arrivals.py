"""When requests arrive, on the edge's own clock: after each other, as a Poisson process, or all at once.

The edge answers one after the other, so what arrives meanwhile waits in a queue, first come, first served.
"""

from __future__ import annotations

import math
import random
import threading
import time
from typing import Protocol

from testbed.errors import WorkerError
from testbed.link.messages import Measure

_SPIN_NS = 60_000
"""The kernel may wake a sleeper so late: 50 µs of timer slack, and the way back into Python."""


class Clock:
    """The node's monotonic clock, and waiting by it."""

    def now_ns(self) -> int:
        """The time now."""
        return time.monotonic_ns()

    def wait_until(self, t_ns: int, cancel: threading.Event) -> None:
        """Wait until a time, or until cancelled."""
        sleep_ns = t_ns - time.monotonic_ns() - _SPIN_NS
        if sleep_ns > 0:
            cancel.wait(sleep_ns / 1e9)
        while time.monotonic_ns() < t_ns and not cancel.is_set():
            pass


class Arrivals(Protocol):
    """The requests of one repeat; they are counted from 0."""

    def more(self, done: int, spent_s: float) -> bool:
        """Whether there are more than `done` requests, which took so long."""
        ...

    def arrival_ns(self, done: int) -> int | None:
        """When the next request after `done` others arrives, or has arrived; None: when it is begun."""
        ...


class OneByOne:
    """The next request arrives when the last one has ended, in whole passes over the samples until time is up."""

    def __init__(self, samples: int, least_s: float) -> None:
        self._samples, self._least_s = samples, least_s

    def more(self, done: int, spent_s: float) -> bool:
        """Whether a pass is not over, or the time is not."""
        return done < self._samples or done % self._samples > 0 or spent_s < self._least_s

    def arrival_ns(self, done: int) -> int | None:
        """None: when it is begun."""
        return None


class AllAtOnce(OneByOne):
    """All requests of a pass arrive together when it begins.

    So a pass is what MLPerf calls a query, and latencies do not depend on how many passes there are.
    """

    def __init__(self, samples: int, least_s: float, clock: Clock, arrival_ns: int | None) -> None:
        super().__init__(samples, least_s)
        self._clock, self._arrival_ns = clock, arrival_ns

    def arrival_ns(self, done: int) -> int | None:
        """When its pass began."""
        if done % self._samples == 0 or self._arrival_ns is None:
            self._arrival_ns = self._clock.now_ns()
        return self._arrival_ns


class Scheduled:
    """Requests arrive at times that were drawn before the first, whatever becomes of them."""

    def __init__(self, times_ns: list[int]) -> None:
        self._times_ns = times_ns

    def more(self, done: int, spent_s: float) -> bool:
        """Whether one is still to come."""
        return done < len(self._times_ns)

    def arrival_ns(self, done: int) -> int | None:
        """As it was drawn."""
        return self._times_ns[done]


def arrivals_of(order: Measure, clock: Clock, done: int = 0, last_ns: int | None = None) -> Arrivals:
    """The arrivals that an order asks for, from now on.

    Args:
        order: what is to be measured.
        clock: the node's.
        done: how many requests an earlier worker in this place has begun.
        last_ns: when the last of them arrived: the others follow as they were drawn.

    Raises:
        WorkerError: a server without a rate.
    """
    asked, samples = order.arrivals, len(order.samples)
    if asked.kind == "single_stream":
        return OneByOne(samples, order.min_duration_s)
    if asked.kind == "offline":
        return AllAtOnce(samples, order.min_duration_s, clock, last_ns)
    if asked.target_qps is None:
        raise WorkerError("a server's requests need a rate at which they arrive: target_qps")
    times_ns = poisson_ns(asked.target_qps, samples, order.min_duration_s, asked.seed)
    begin_ns = clock.now_ns() if last_ns is None or not done else last_ns - times_ns[done - 1]
    return Scheduled([begin_ns + each for each in times_ns])


def poisson_ns(rate_per_s: float, samples: int, least_s: float, seed: str) -> list[int]:
    """Arrivals of a Poisson process in ns after the first, in whole passes over the samples until time is up.

    The gaps are exponential, by inversion of `random.Random`'s uniform numbers: those are the same for a seed in every
    version of Python (documentation of `random`, "Notes on Reproducibility"). So are MLPerf's, which come from the same
    generator, a Mersenne Twister. Rates that are drawn from one seed have the same gaps on different scales.
    """
    rng = random.Random(seed)  # noqa: S311  (a load, not a secret)
    times_ns: list[int] = []
    t_s = 0.0
    while not times_ns or times_ns[-1] < least_s * 1e9:
        for _ in range(samples):
            times_ns.append(round(t_s * 1e9))
            t_s -= math.log1p(-rng.random()) / rate_per_s
    return times_ns
