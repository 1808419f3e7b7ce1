"""An emulated board: how its time passes, and its radio; the power model hears of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from devices.activity import Activity, ActivityWriter
from devices.base.errors import DeviceError
from devices.radios import Radio
from devices.schedule import Schedule, Timekeeping
from devices.tempo import Span

HELD_UP_NS = 1_000_000
"""Handing a message over takes a host some 50 µs. What takes this long was held up by the link."""


class Traffic(Protocol):
    """What a connection has carried since it was made, in bytes of IP packets."""

    @property
    def tx_bytes(self) -> int:
        """Sent."""

    @property
    def rx_bytes(self) -> int:
        """Received."""


class EmulatedRadio:
    """The radio of an emulated board, whose energy follows the bytes of a connection and the time that they take.

    It is on from when a message begins to be sent until nothing is waited for any more, whatever passes meanwhile:
    serialisation, propagation, the cloud's part, and what the processor computes beside. The model's base power is that
    of a connected radio at any throughput, also none, and one that expects an answer cannot sleep. On a slow link bytes
    take long, and so the radio is on for long. Then it is in its tail until the next message. The bytes are those that
    the kernel counted, with headers and acknowledgements. They are charged when the last answer is there; what passes
    after that is charged with the next message.

    Args:
        radio: its figures.
        activity: where the power model hears of it.
        traffic: what the connection has carried until now; None while it is down.
    """

    def __init__(self, radio: Radio, activity: ActivityWriter, traffic: Callable[[], Traffic | None]) -> None:
        self._radio, self._activity, self._traffic = radio, activity, traffic
        self._charged = (0, 0)
        self._on = False
        self.off()

    def on(self) -> None:
        """A message begins to be sent."""
        if not self._on:
            self._on = True
            self._activity.draw(round(1000 * self._radio.active_mw))

    def rest(self) -> None:
        """Nothing is waited for any more: the answers are there, will not come or are not wanted."""
        if not self._on:
            return
        self._on = False
        before_up, before_down = self._charged
        up, down = self._counted()
        taken_nj = self._radio.traffic_nj(up - before_up, down - before_down)
        self._activity.draw(round(1000 * self._radio.tail_mw), round(1e9 * self._radio.tail_s), taken_nj)

    def off(self) -> None:
        """Off at once, without a tail; what was sent and not charged until now never is."""
        self._on = False
        self._counted()
        self._activity.draw(0)

    def _counted(self) -> tuple[int, int]:
        traffic = self._traffic()
        if traffic is not None:
            self._charged = (traffic.tx_bytes, traffic.rx_bytes)
        return self._charged


class _Stretch(NamedTuple):
    """What the processor does, from when to when."""

    activity: Activity
    start_ns: int
    end_ns: int


class EmulatedTempo:
    """A board that takes what its model says: the host computes as fast as it can, and then waits for it.

    What is computed in a span tells what it costs (`owe`), and moves the node's time on. Spans do not wait at their
    end, so several of them may follow each other; it is waited before anything leaves the node. A span that fails ends
    when it fails.

    Args:
        activity: where the power model hears of it.
        processor: what step graphs run on.
        schedule: the node's time.

    Attributes:
        radio: what an emulated edge sends with.
    """

    def __init__(self, activity: ActivityWriter, processor: Activity, schedule: Schedule | None = None) -> None:
        self.radio: EmulatedRadio | None = None
        self._activity, self._processor = activity, processor
        self._schedule = Schedule() if schedule is None else schedule
        self._stretches: list[_Stretch] = []
        self._open = False
        self._tried_ns: int | None = None

    @property
    def now_ns(self) -> int:
        """The node's time; the host's clock comes to it when it is waited for."""
        return self._schedule.now_ns

    @property
    def begun_ns(self) -> int:
        """When the node began with its present work."""
        return self._schedule.begun_ns

    def begin(self, asked_ns: int | None = None, *, counted: bool = True) -> int:
        """Begin when it was asked, or when what the node did before is over."""
        return self._schedule.begin(asked_ns, counted=counted)

    def end(self) -> int:
        """Wait until the node is done, and rest. Nobody outside waits for that, so a late host has time to make up."""
        self._schedule.done()
        return self._rest(0)

    def computing(self) -> Span:
        """Takes what is owed for what is computed inside."""
        return Span(self._compute, self._computed)

    def sending(self) -> Span:
        """Begins when the node is ready; handing a message over takes no time, unless the link holds it up."""
        return Span(self._send, self._sent)

    def waiting(self) -> Span:
        """Begins when the node is ready, and takes as long as it takes."""
        return Span(self.settle, self._waited)

    def answered(self) -> None:
        """Let the radio rest."""
        if self.radio is not None:
            self.radio.rest()

    def settle(self) -> int:
        """Wait until the node's time has come; the power model hears of each stretch as it comes."""
        return self._rest(self._schedule.ready())

    def owe(self, ns: int, activity: Activity | None = None) -> None:
        """Move the node's time on by what a call takes.

        Raises:
            DeviceError: it was called outside of a span of computing, so its time would be nobody's.
        """
        if self._tried_ns is not None:
            self._tried_ns += ns
            return
        if not self._open:
            raise DeviceError("an emulated node ran a step graph or a codec outside of a span of computing")
        activity = self._processor if activity is None else activity
        start_ns = self._schedule.now_ns
        self._schedule.spend(ns)
        if self._stretches and self._stretches[-1].activity is activity:
            start_ns = self._stretches.pop().start_ns
        self._stretches.append(_Stretch(activity, start_ns, self._schedule.now_ns))

    def trial(self, run: Callable[[], object]) -> int:
        """What the model says of it; no time passes."""
        self._tried_ns = 0
        try:
            run()
            return self._tried_ns
        finally:
            self._tried_ns = None

    def sleep(self) -> None:
        """Wait until the node is done; then neither processor nor radio does anything."""
        self.settle()
        self._schedule.pause()
        if self.radio is not None:
            self.radio.off()

    def told(self) -> Timekeeping:
        """How well the host kept to the node's time."""
        return self._schedule.told()

    def _compute(self) -> int:
        if not self._stretches:  # what it does is known when it has been done; until then it is most likely this
            self._activity.set(self._processor)
        self._open = True
        return self._schedule.now_ns

    def _computed(self, failed: bool) -> int:
        self._open = False
        return self._waited(failed) if failed else self._schedule.now_ns

    def _waited(self, failed: bool) -> int:
        if failed:  # what comes of it is no work of the node's
            self._schedule.pause()
        return self._schedule.catch_up()

    def _rest(self, rested_ns: int) -> int:
        """Tell of what was computed, which began so much later than it seemed, and rest until there is more."""
        for activity, start_ns, end_ns in self._stretches:
            self._schedule.wait_until(start_ns + rested_ns)
            self._activity.set(activity, start_ns + rested_ns, end_ns + rested_ns)
        self._stretches.clear()
        now_ns = self._schedule.reach()
        self._activity.set(Activity.IDLE, now_ns)
        return now_ns

    def _send(self) -> int:
        now_ns = self.settle()
        if self.radio is not None:
            self.radio.on()
        return now_ns

    def _sent(self, failed: bool) -> int:
        held_up = failed or self._schedule.lag_ns > HELD_UP_NS
        return self._waited(failed) if held_up else self._schedule.now_ns
