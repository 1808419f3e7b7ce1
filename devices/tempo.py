"""How a node spends its time: in spans that take as long as its board takes, and that its power model hears of."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from devices.activity import Activity


class Span:
    """One stretch of time in which a node computes or waits, for `with`.

    Attributes:
        start_ns: on the monotonic clock; on an emulated node as its model has it.
        end_ns: likewise; that of the beginning until it is over.
    """

    __slots__ = ("_begin", "_end", "end_ns", "start_ns")

    def __init__(self, begin: Callable[[], int], end: Callable[[bool], int]) -> None:
        self._begin, self._end = begin, end
        self.start_ns = self.end_ns = 0

    @property
    def ns(self) -> int:
        """How long it was, in nanoseconds."""
        return self.end_ns - self.start_ns

    def __enter__(self) -> Span:
        self.start_ns = self.end_ns = self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_ns = self._end(kind is not None)


class Tempo(Protocol):
    """A node's time, real or emulated; all times are nanoseconds of the monotonic clock."""

    @property
    def now_ns(self) -> int:
        """The node's time."""

    @property
    def begun_ns(self) -> int:
        """When it began with its present work, as it is known once that is over."""

    def begin(self, asked_ns: int | None = None, *, counted: bool = True) -> int:
        """Begin to work on what was asked then (None: now); returns when the node begins, as far as is known."""

    def end(self) -> int:
        """Have done that work, for nobody outside, and rest; returns the node's time, which has come."""

    def computing(self) -> Span:
        """The node computes."""

    def sending(self) -> Span:
        """The node hands a message to the link; the radio is on from now until `answered`."""

    def waiting(self) -> Span:
        """The processor waits for an answer; the link takes the time that it takes."""

    def answered(self) -> None:
        """No answer is waited for any more, so the radio rests."""

    def settle(self) -> int:
        """Wait until the node's time has come, before anything leaves the node; returns it."""

    def owe(self, ns: int, activity: Activity | None = None) -> None:
        """What was just computed takes an emulated board so long, as that activity (None: that of step graphs)."""

    def trial(self, run: Callable[[], object]) -> int:
        """How long the node takes for something that is no part of its work."""

    def sleep(self) -> None:
        """Neither the processor nor the radio does anything from now on: what an idle baseline is of."""


class RealTempo:
    """A board that takes the time that it takes, and whose sensor knows by itself what it does."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self.begun_ns = clock()

    @property
    def now_ns(self) -> int:
        """The clock's time."""
        return self._clock()

    def begin(self, asked_ns: int | None = None, *, counted: bool = True) -> int:
        """Now."""
        self.begun_ns = self._clock()
        return self.begun_ns

    def end(self) -> int:
        """Now."""
        return self._clock()

    def computing(self) -> Span:
        """Takes as long as it takes."""
        return Span(self._clock, lambda failed: self._clock())

    sending = waiting = computing

    def answered(self) -> None:
        """Nothing is to be told."""

    def settle(self) -> int:
        """Now."""
        return self._clock()

    def owe(self, ns: int, activity: Activity | None = None) -> None:
        """Nothing is owed: it was spent."""

    def trial(self, run: Callable[[], object]) -> int:
        """What the clock says of it."""
        start_ns = self._clock()
        run()
        return self._clock() - start_ns

    def sleep(self) -> None:
        """Nothing is to be told."""
