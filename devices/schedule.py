"""The time of an emulated node: what it does takes what its model says, and its host waits until then.

A node's time runs ahead of the host's clock while the host computes, since the host is the faster of the two. It is
waited for before anything leaves the node. So lateness does not add up: what is next begins when the model says that
the last thing ended, not when the host woke up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

SPIN_NS = 120_000
"""The kernel may wake a sleeper this late (50 µs of timer slack and the way back into Python): 78 µs in the median and
103 µs in nine of ten sleeps on a virtual machine with little to do, 65 and 71 µs with much."""

TOLERANCE_NS = 20_000
TOLERANCE = 0.01
"""A stage that the host has ready later than modelled by less than both together is no overrun: what is late by so
little moves a latency by no more than two runs may differ."""

MAX_LAG_NS = 20_000_000
"""How far a host may be behind what nobody outside waits for. It makes up for that while it computes faster than the
node. Further behind it is an overrun."""


class Timekeeping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well a host kept to the time of the node that it emulates, over what was measured.

    A stage is what a node computes from being asked, or hearing an answer, to sending or answering.

    Attributes:
        stages: how many there were.
        overruns: those that the host had ready later than modelled, beyond the tolerance.
        worst_overrun_ms: by how much the worst was late.
        modelled_ms: what the model says of all of them together.
        woken_late_ms: by how much the host woke up late after them, in the mean; no overrun.
        worst_woken_late_ms: likewise at worst.
    """

    stages: int
    overruns: int
    worst_overrun_ms: float
    modelled_ms: float
    woken_late_ms: float
    worst_woken_late_ms: float


def wait_for_clock(t_ns: int) -> None:
    """Return when the monotonic clock says `t_ns`, and hardly later: the last stretch is spent looking at it."""
    sleep_ns = t_ns - time.monotonic_ns() - SPIN_NS
    if sleep_ns > 0:
        time.sleep(sleep_ns / 1e9)
    while time.monotonic_ns() < t_ns:
        pass


class Schedule:
    """A node's time, and how well the host keeps to it. Times are nanoseconds of the clock given.

    Args:
        clock: the host's.
        wait: waits until that clock says so much.

    Attributes:
        now_ns: the node's time.
        begun_ns: when it began with its present work.
    """

    def __init__(
        self, clock: Callable[[], int] = time.monotonic_ns, wait: Callable[[int], None] = wait_for_clock
    ) -> None:
        self._clock, self._wait = clock, wait
        self.now_ns = self.begun_ns = clock()
        self._lag_ns = self._stage_ns = 0
        self._fresh, self._counted, self._paused = False, True, True
        self._stages = self._overruns = 0
        self._worst_ns = self._modelled_ns = self._woken_late_ns = self._worst_woken_ns = 0

    @property
    def lag_ns(self) -> int:
        """How far the host's clock is past the node's time."""
        return self._clock() - self.now_ns

    def begin(self, asked_ns: int | None, *, counted: bool) -> int:
        """Begin to work on what was asked at `asked_ns` (None: now); returns when the node begins.

        That is when it is asked, or when it has ended what it did before, whichever is later. The host may come to it
        later, since it writes rows in between. It makes up for that while it computes faster than the node; what it
        cannot make up for before something leaves the node, the node rested before it began. What follows is left out
        of the count where it is not `counted`.
        """
        host_ns = self._clock()
        start_ns = host_ns if asked_ns is None or self._paused else max(self.now_ns, asked_ns)
        if host_ns - start_ns > MAX_LAG_NS:
            self._overruns += counted
            self._worst_ns = max(self._worst_ns, host_ns - start_ns if counted else 0)
            start_ns = host_ns
        start_ns, self._paused = min(start_ns, host_ns), False
        self.now_ns = self.begun_ns = start_ns
        self._lag_ns, self._stage_ns = host_ns - start_ns, 0
        self._fresh, self._counted = True, counted
        return self.now_ns

    def spend(self, ns: int) -> None:
        """The node computes for so long, as part of the present stage."""
        self.now_ns += ns
        self._stage_ns += ns

    def pause(self) -> None:
        """Nothing is asked for until the host says so: the next work begins when the host begins it."""
        self._paused = True

    def done(self) -> None:
        """The host has what the node computed, and nobody outside waits for it: it may be late, and make up for it."""
        if self._stage_ns and self._counted:
            self._stages += 1
            self._modelled_ns += self._stage_ns
        self._fresh = False

    def ready(self) -> int:
        """The host has what is to leave the node: see whether it came in time. What did not moves the node's time on.

        Returns how much later than it seemed the node began.
        """
        late_ns = self._clock() - self.now_ns
        rested_ns = 0
        if self._fresh and late_ns > 0:
            rested_ns = min(self._lag_ns, late_ns) if self._stage_ns else late_ns
            self.now_ns += rested_ns
            self.begun_ns += rested_ns
            late_ns -= rested_ns
        late = late_ns > TOLERANCE_NS + TOLERANCE * self._stage_ns
        if self._stage_ns and self._counted:
            self._stages += 1
            self._modelled_ns += self._stage_ns
            self._overruns += late
            self._worst_ns = max(self._worst_ns, late_ns if late else 0)
        if late:
            self.now_ns += late_ns
        self._fresh = False
        return rested_ns

    def wait_until(self, t_ns: int) -> int:
        """Wait for the host's clock; returns what it then says."""
        self._wait(t_ns)
        return self._clock()

    def reach(self) -> int:
        """Wait until the host's clock says the node's time, and return that; the next stage begins."""
        in_time = self._clock() <= self.now_ns
        woken_late_ns = self.wait_until(self.now_ns) - self.now_ns
        if self._stage_ns and self._counted and in_time:
            self._woken_late_ns += woken_late_ns
            self._worst_woken_ns = max(self._worst_woken_ns, woken_late_ns)
        self._stage_ns = 0
        return self.now_ns

    def catch_up(self) -> int:
        """Something was waited for that has a time of its own: the node's time is the host's, and never goes back."""
        self.now_ns = max(self.now_ns, self._clock())
        self._stage_ns = 0
        return self.now_ns

    def told(self) -> Timekeeping:
        """How well the host has kept to the time until now."""
        return Timekeeping(
            stages=self._stages,
            overruns=self._overruns,
            worst_overrun_ms=self._worst_ns / 1e6,
            modelled_ms=self._modelled_ns / 1e6,
            woken_late_ms=self._woken_late_ns / 1e6 / max(self._stages, 1),
            worst_woken_late_ms=self._worst_woken_ns / 1e6,
        )
