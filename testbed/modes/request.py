"""One request while it runs on the edge: what a mode may do for it, and what it has cost so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.emulation import Span, Tempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.link.messages import ExitConfig
from testbed.link.uplink import Uplink
from testbed.record.exits import accumulate, confidence
from testbed.runtime.artefact import ModelCard


@dataclass
class Step:
    """What happened in one timestep; None where it does not apply."""

    logits: NDArray[np.float32]
    code_spikes: int | None = None
    code_bits: int | None = None
    payload_bytes: int | None = None
    t_send_ns: int | None = None
    t_reply_ns: int | None = None
    cloud_ns: int | None = None


class Request:
    """A request, with a mode's tools. Times are nanoseconds of the edge's clock, `cloud_ns` those that the cloud says.

    Attributes:
        x: the input, uint8 [1, C, H, W] or [1, T, C, H, W].
        timesteps: how many there are at most, T.
        steps: the timesteps that were answered.
        edge_ns, encode_ns, network_ns, cloud_ns: where the time went.
        up_bytes, down_bytes: payloads.
    """

    def __init__(
        self,
        number: int,
        x: NDArray[np.uint8],
        card: ModelCard,
        rule: ExitConfig | None,
        tempo: Tempo,
        uplink: Uplink | None,
        deadline: Deadline,
    ) -> None:
        self.number, self.x, self.timesteps = number, x, card.timesteps
        self.steps: list[Step] = []
        self.edge_ns = self.encode_ns = self.network_ns = self.cloud_ns = 0
        self.up_bytes = self.down_bytes = 0
        self._classes, self._rule = len(card.classes), rule
        self._tempo, self._uplink, self._deadline = tempo, uplink, deadline

    @contextmanager
    def computing(self) -> Iterator[Span]:
        """What runs inside is the edge's computing."""
        with self._tempo.computing() as span:
            yield span
        self.edge_ns += span.ns

    @contextmanager
    def encoding(self) -> Iterator[Span]:
        """What runs inside makes a payload of a code."""
        with self._tempo.computing() as span:
            yield span
        self.encode_ns += span.ns

    def give(self, logits: NDArray[np.float32]) -> None:
        """Answer the next timestep with logits [K] that the edge found itself."""
        self.steps.append(Step(logits))

    def ask(
        self,
        kind: Kind,
        payload: bytes,
        *,
        answers: int = 1,
        timestep: int = 0,
        codec: int = 0,
        code: NDArray[np.uint8] | None = None,
    ) -> None:
        """Have the cloud answer the next `answers` timesteps; `code` is what the payload was made of, if it was.

        Raises:
            LinkTimeout: it did not before the request's deadline.
            LinkError: the connection broke, or the cloud refuses or gives another number of timesteps.
        """
        if self._uplink is None:
            raise LinkError("this cell has no data plane, so its edge cannot ask the cloud")
        self.up_bytes += len(payload)
        data = frames.pack(Frame(kind, self.number, timestep, codec, payload))
        with self._tempo.waiting() as span:
            answer = self._uplink.ask(data, (self.number, timestep), self._deadline)
        self.down_bytes += len(answer.payload)
        if answer.kind is Kind.REFUSED:
            raise LinkError(f"the cloud refused timestep {timestep}: {frames.unpack_reason(answer.payload)}")
        cloud_ns, logits = frames.unpack_result(answer.payload, self._classes)
        self.cloud_ns += cloud_ns
        self.network_ns += span.ns - cloud_ns
        if len(logits) != answers:
            raise LinkError(f"the cloud answered {len(logits)} timesteps, not {answers}")
        first = Step(
            logits[0],
            payload_bytes=len(payload),
            t_send_ns=span.start_ns,
            t_reply_ns=span.end_ns,
            cloud_ns=cloud_ns,
        )
        if code is not None:
            first.code_bits, first.code_spikes = int(code.size), int(np.count_nonzero(code))
        self.steps += [first, *(Step(row) for row in logits[1:])]

    @property
    def complete(self) -> bool:
        """Whether every timestep was answered."""
        return len(self.steps) == self.timesteps

    @property
    def confident(self) -> bool:
        """Whether what was answered so far is reason enough to stop before the last timestep."""
        if self._rule is None or self.complete:
            return False
        logits = np.stack([step.logits for step in self.steps])
        sure = confidence(accumulate(logits, self._rule.accumulate)[-1], self._rule.policy)
        return bool(sure >= self._rule.thresholds[len(self.steps) - 1])
