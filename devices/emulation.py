"""Computing as slowly as a slower board does, in spans that the power model hears of."""

from __future__ import annotations

import time
from types import TracebackType

from devices.activity import Activity, ActivityWriter

# The kernel may wake a sleeper this late (50 µs of timer slack and the way back into Python).
_SPIN_NS = 60_000


class Slowdown:
    """Stretches what was computed on a fast host to the time that the emulated board would take."""

    def __init__(self, factor: float) -> None:
        if not factor >= 1:
            raise ValueError(f"a slowdown is at least 1, not {factor}")
        self.factor = factor

    def stretch(self, t_start_ns: int) -> int:
        """Wait until `factor` times the time since `t_start_ns` has passed, and return the time then.

        Times are nanoseconds of the monotonic clock. A factor of 1 returns at once.
        """
        now_ns = time.monotonic_ns()
        end_ns = t_start_ns + round(self.factor * (now_ns - t_start_ns))
        sleep_ns = end_ns - now_ns - _SPIN_NS
        if sleep_ns > 0:
            time.sleep(sleep_ns / 1e9)
        while now_ns < end_ns:
            now_ns = time.monotonic_ns()
        return now_ns


class Span:
    """One stretch of time in which a node does one thing, for `with`.

    It begins with telling the power model what the board does, and ends as late as the emulated board would; where
    the body fails it ends at once. The board goes on with that activity until another span begins or it rests.

    Attributes:
        start_ns: on the monotonic clock.
        end_ns: likewise; that of the beginning until it is over.
    """

    __slots__ = ("_activity", "_stretched", "_tempo", "end_ns", "start_ns")

    def __init__(self, tempo: Tempo, activity: Activity, *, stretched: bool) -> None:
        self._tempo, self._activity, self._stretched = tempo, activity, stretched
        self.start_ns = self.end_ns = 0

    @property
    def ns(self) -> int:
        """How long it was, in nanoseconds."""
        return self.end_ns - self.start_ns

    def __enter__(self) -> Span:
        self._tempo.set(self._activity)
        self.start_ns = self.end_ns = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stretched = self._stretched and kind is None
        self.end_ns = self._tempo.slowdown.stretch(self.start_ns) if stretched else time.monotonic_ns()


class Tempo:
    """How a node spends its time: in spans that last as long as its board takes, and that its power model hears of.

    `activity` is None on a real board, whose sensor knows by itself.
    """

    def __init__(self, slowdown: Slowdown, activity: ActivityWriter | None = None) -> None:
        self.slowdown = slowdown
        self._activity = activity

    def computing(self) -> Span:
        """The processor computes; stretched to the emulated board's speed."""
        return Span(self, Activity.COMPUTE, stretched=True)

    def waiting(self) -> Span:
        """The radio is on and the processor waits for an answer; the link takes the time that it takes."""
        return Span(self, Activity.RADIO, stretched=False)

    def rest(self) -> None:
        """Nothing is being done from now on."""
        self.set(Activity.IDLE)

    def set(self, activity: Activity) -> None:
        """Tell the power model what the board does from now on."""
        if self._activity is not None:
            self._activity.set(activity)
