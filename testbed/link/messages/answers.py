"""What a worker says: its answers to orders, and what it sends unasked."""

from __future__ import annotations

from typing import TypeAlias

from testbed.link.messages.body import Count, Heartbeat, MessageBody
from testbed.record import noderecord
from testbed.record.noderecord import HelloFacts

MOST_CHARACTERS = 10_000
"""Of what a fault says."""


class Hello(MessageBody, frozen=True, kw_only=True):
    """A worker's first message: which participant it is and what it runs on."""

    node: str
    facts: HelloFacts


class CanShape(MessageBody, frozen=True, kw_only=True):
    """Why the kernel here cannot shape (empty: it can), and this node's own address towards its first peer."""

    reasons: list[str]
    address: str | None


class Loaded(MessageBody, frozen=True, kw_only=True):
    """The worker is ready. A cloud says where its data plane really listens."""

    data_endpoint: str | None
    detail: noderecord.Loaded


class CooledDown(MessageBody, frozen=True, kw_only=True):
    """How warm the node is now, and how long it waited."""

    detail: noderecord.Cooling


class PathChecked(MessageBody, frozen=True, kw_only=True):
    """The path has been measured."""

    detail: noderecord.PathMeasured


class Measured(MessageBody, frozen=True, kw_only=True):
    """The requests have been measured, as far as nobody cancelled them."""

    detail: noderecord.Measured


class Finished(MessageBody, frozen=True, kw_only=True):
    """The record is closed."""

    detail: noderecord.Finished


class Done(MessageBody, frozen=True, kw_only=True):
    """The request has been carried out."""


class Progress(MessageBody, frozen=True, kw_only=True):
    """How many of the running `Measure`'s requests are done."""

    done: Count
    total: Count


class ClockPong(MessageBody, frozen=True, kw_only=True):
    """Answers `ClockPing`: its `t1_ns`, and the worker's clock at reception and at reply.

    `wall_offset_ns` is the worker's wall clock less its monotonic one.
    """

    t1_ns: int
    t2_ns: int
    t3_ns: int
    wall_offset_ns: int


class Fault(MessageBody, frozen=True, kw_only=True):
    """The worker could not do what was asked, or cannot go on (sequence number 0). `kind` is the error's class name."""

    message: str
    kind: str

    @classmethod
    def of(cls, message: str, kind: str) -> Fault:
        """One that can be sent whatever its message is: the beginning of a long one, names that are no text escaped."""
        text = message.encode(errors="backslashreplace").decode()
        return cls(message=text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…", kind=kind)


Answer: TypeAlias = Hello | CanShape | Loaded | CooledDown | PathChecked | Measured | Finished | Done
FromWorker: TypeAlias = Answer | Progress | Heartbeat | ClockPong | Fault
