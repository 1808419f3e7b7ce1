"""What happened in the timesteps of a request: when, what it took, and how much of that time nothing else went on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.tempo import Span


@dataclass(kw_only=True)
class Step:
    """One timestep; None where something does not apply or has not happened. Times are ns of the edge's clock.

    Timesteps that went in one message have its times, and equal shares of what it took: `edge_ns` is the edge's
    computing and encoding, `cloud_ns` what the cloud says of itself.
    """

    logits: NDArray[np.float32] | None = None
    code_spikes: int | None = None
    code_bits: int | None = None
    payload_bytes: int | None = None
    t_compute_ns: int | None = None
    t_computed_ns: int | None = None
    t_encode_ns: int | None = None
    t_encoded_ns: int | None = None
    t_send_ns: int | None = None
    t_sent_ns: int | None = None
    t_reply_ns: int | None = None
    edge_ns: float = 0.0
    cloud_ns: float | None = None
    down_bytes: int = 0


@dataclass
class Message:
    """A question to the cloud: the timesteps from `timestep` on that its answer must have."""

    timestep: int
    steps: list[Step]


class Work:
    """What the edge has computed and encoded since it last sent or gave something."""

    def __init__(self) -> None:
        self._computed: list[Span] = []
        self._encoded: list[Span] = []

    def computed(self, span: Span) -> None:
        """A part of the network was run."""
        self._computed.append(span)

    def encoded(self, span: Span) -> None:
        """A payload was made."""
        self._encoded.append(span)

    def __bool__(self) -> bool:
        return bool(self._computed or self._encoded)

    def take(self, timesteps: int) -> list[Step]:
        """As it belongs to so many timesteps; nothing is left."""
        computed, encoded = self._computed, self._encoded
        self._computed, self._encoded = [], []
        edge_ns = sum(span.ns for span in (*computed, *encoded)) / timesteps
        return [
            Step(
                edge_ns=edge_ns,
                t_compute_ns=computed[0].start_ns if computed else None,
                t_computed_ns=computed[-1].end_ns if computed else None,
                t_encode_ns=encoded[0].start_ns if encoded else None,
                t_encoded_ns=encoded[-1].end_ns if encoded else None,
            )
            for _ in range(timesteps)
        ]


class Waits:
    """How the time in which something was under way divides: into waiting for it, and work beside it.

    A message that is never answered is no part of it.

    Attributes:
        beside_ns: the edge computed or encoded.
        wait_ns: it did neither.
    """

    def __init__(self) -> None:
        self.wait_ns = self.beside_ns = 0
        self._since_ns: int | None = None
        self._worked_ns = 0

    def sent(self, t_send_ns: int) -> None:
        """A message began to be sent."""
        if self._since_ns is None:
            self._since_ns = t_send_ns

    def worked(self, span: Span) -> None:
        """The edge did something else."""
        if self._since_ns is not None:
            self._worked_ns += span.ns

    def answered(self, t_reply_ns: int, *, more: bool) -> None:
        """An answer was there; whether there are more to come."""
        since_ns = t_reply_ns if self._since_ns is None else self._since_ns
        self.beside_ns += self._worked_ns
        self.wait_ns += t_reply_ns - since_ns - self._worked_ns
        self._since_ns, self._worked_ns = (t_reply_ns if more else None), 0

    def over(self) -> None:
        """Nothing is waited for any more."""
        self._since_ns, self._worked_ns = None, 0
