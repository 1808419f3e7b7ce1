"""One request while it runs on the edge: what a mode may do for it, what is under way, and what it has cost so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from devices.tempo import Span, Tempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.link.messages import ExitConfig
from testbed.modes.steps import Message, Step, Waits, Work
from testbed.record.exits import accumulate, confidence
from testbed.runtime.artefact import ModelCard


class Link(Protocol):
    """What a request is sent over."""

    def send(self, data: bytes, deadline: Deadline, *, awaiting: bool = False) -> None:
        """Send a packed frame; `awaiting` where answers to earlier ones of its request are still to come."""
        ...

    def answer(self, about: tuple[int, int], deadline: Deadline) -> Frame:
        """Wait for the answer about that request and timestep."""
        ...

    def answer_there(self, about: tuple[int, int]) -> Frame | None:
        """The answer about that request and timestep if it is there."""
        ...


class Request:
    """A request, with a mode's tools. Times are nanoseconds of the edge's clock, `cloud_ns` those that the cloud says.

    Attributes:
        x: the input, uint8 [1, C, H, W] or [1, T, C, H, W].
        timesteps: how many there are at most, T.
        chunks: how many of them are computed and sent together; they add up to T.
        steps: the timesteps that count: answered, in their order, up to the first confident one.
        in_vain: the timesteps that were computed or sent and do not count.
        confident: whether what counts so far is reason enough to stop before the last timestep.
        edge_ns, encode_ns, cloud_ns: what was computed, in vain or not.
        waits: how long something was under way.
        up_bytes, down_bytes: payloads.
        frames_up, frames_down: frames around them.
        heard_ns: when the cloud last said something about it; None while it has not.
    """

    def __init__(
        self,
        number: int,
        x: NDArray[np.uint8],
        card: ModelCard,
        rule: ExitConfig | None,
        tempo: Tempo,
        uplink: Link | None,
        deadline: Deadline,
        window: int = 1,
        chunks: Sequence[int] | None = None,
    ) -> None:
        self.number, self.x, self.timesteps = number, x, card.timesteps
        self.chunks = chunks or [1] * card.timesteps
        self.steps: list[Step] = []
        self.in_vain: list[Step] = []
        self.confident = False
        self.edge_ns = self.encode_ns = self.cloud_ns = 0
        self.waits = Waits()
        self.up_bytes = self.down_bytes = self.frames_up = self.frames_down = 0
        self.heard_ns: int | None = None
        self._answered = 0
        self._classes, self._rule, self._window = len(card.classes), rule, window
        self._tempo, self._uplink, self._deadline = tempo, uplink, deadline
        self._work = Work()
        self._next = 1
        self._under_way: deque[Message] = deque()

    @contextmanager
    def computing(self) -> Iterator[Span]:
        """What runs inside is the edge's computing, for what is sent or given next."""
        with self._tempo.computing() as span:
            yield span
        self.edge_ns += span.ns
        self._work.computed(span)
        self.waits.worked(span)

    @contextmanager
    def encoding(self) -> Iterator[Span]:
        """What runs inside makes a payload of a code."""
        with self._tempo.computing() as span:
            yield span
        self.encode_ns += span.ns
        self._work.encoded(span)
        self.waits.worked(span)

    def give(self, *logits: NDArray[np.float32]) -> None:
        """Answer the next timesteps with logits [K] that the edge found itself, together."""
        for step, row in zip(self._work.take(len(logits)), logits, strict=True):
            step.logits = row
            self._add(step)

    def ask(self, kind: Kind, payload: bytes, *, answers: int = 1) -> None:
        """As `send`, and wait for the answer.

        Raises:
            LinkError: as of `send` and `settle`.
        """
        self.send(kind, payload, answers=answers)
        self.settle()

    def send(
        self,
        kind: Kind,
        payload: bytes,
        *,
        answers: int = 1,
        timestep: int = 0,
        codec: int = 0,
        code: NDArray[np.uint8] | None = None,
    ) -> None:
        """Ask the cloud for the next `answers` timesteps; `code` is what the payload was made of, if it was.

        Raises:
            LinkTimeout: it could not be sent before the request's deadline.
            LinkError: the connection broke, and what was under way is lost.
        """
        (first,) = self._work.take(1)
        first.payload_bytes = len(payload)
        if code is not None:
            _describe(first, code)
        self._send(Frame(kind, self.number, timestep, codec, payload), [first], answers)

    def send_codes(self, timestep: int, codes: NDArray[np.uint8], coded: Sequence[tuple[int, bytes]]) -> None:
        """Send the codes [n, C', H', W'] from `timestep` on, each as a codec's number and payload, in one message.

        Raises:
            LinkError: as of `send`.
        """
        if len(coded) == 1:
            ((codec, payload),) = coded
            self.send(Kind.STEP, payload, timestep=timestep, codec=codec, code=codes[0])
            return
        steps = self._work.take(len(coded))
        for step, code, (_, payload) in zip(steps, codes, coded, strict=True):
            step.payload_bytes = len(payload)
            _describe(step, code)
        frame = Frame(Kind.STEPS, self.number, timestep, len(coded), frames.pack_steps(coded))
        self._send(frame, steps, len(steps))

    def _send(self, frame: Frame, sent: list[Step], answers: int) -> None:
        uplink = self._link()
        self.up_bytes += sum(step.payload_bytes or 0 for step in sent)
        self.frames_up += 1
        data = frames.pack(frame)
        awaiting = bool(self._under_way)
        self._under_way.append(Message(frame.timestep, [*sent, *(Step() for _ in range(answers - len(sent)))]))
        with self._tempo.sending() as span:
            uplink.send(data, self._deadline, awaiting=awaiting)
        for step in sent:
            step.t_send_ns, step.t_sent_ns = span.start_ns, span.end_ns
        self.waits.sent(span.start_ns)

    def room(self, timesteps: int = 1) -> bool:
        """Wait until so many more timesteps fit into the window; whether there is a use in going on.

        Where nothing is under way they do.

        Raises:
            LinkError: as of `settle`.
        """
        self._next = timesteps
        while self._under_way and not self.confident and self._unanswered + timesteps > self._window:
            self._take(*self._wait())
        return self.look()

    def look(self) -> bool:
        """Take in the answers that are there, waiting for none; whether there is a use in going on.

        Raises:
            LinkError: the connection broke, or the cloud refuses or gives another number of timesteps.
        """
        while self._under_way and not self.confident and (answer := self._there()) is not None:
            self._take(answer, self._tempo.now_ns)
        return not self.confident

    def settle(self) -> None:
        """Wait for what is under way, for as long as no answer is confident.

        Raises:
            LinkTimeout: an answer did not come before the request's deadline.
            LinkError: the connection broke, or the cloud refuses or gives another number of timesteps.
        """
        while self._under_way and not self.confident:
            self._take(*self._wait())

    def close(self) -> None:
        """Wait for nothing any more. What is under way was in vain, and so is what was computed after an exit."""
        self._tempo.answered()
        self.waits.over()
        while self._under_way:
            self.in_vain += self._under_way.popleft().steps
        if self._work and self.confident:
            self.in_vain += self._work.take(self._next)

    def restart(self) -> None:
        """Forget what was answered so far. What it cost stays, in vain: time that was spent, bytes that were sent."""
        self.close()
        self.in_vain += self.steps
        self.steps = []
        self.confident = False

    @property
    def complete(self) -> bool:
        """Whether every timestep was answered."""
        return len(self.steps) == self.timesteps

    @property
    def over(self) -> bool:
        """Whether the cloud has answered the last timestep, so that it keeps nothing of the request."""
        return self._answered >= self.timesteps

    @property
    def _unanswered(self) -> int:
        return sum(len(message.steps) for message in self._under_way)

    @property
    def _about(self) -> tuple[int, int]:
        """What the next answer must be about."""
        return self.number, self._under_way[0].timestep

    def _link(self) -> Link:
        if self._uplink is None:
            raise LinkError("this cell has no data plane, so its edge cannot ask the cloud")
        return self._uplink

    def _wait(self) -> tuple[Frame, int]:
        with self._tempo.waiting() as span:
            answer = self._link().answer(self._about, self._deadline)
        return answer, span.end_ns

    def _there(self) -> Frame | None:
        self._tempo.settle()  # what an emulated node finds does not depend on how far its host has run ahead
        return self._link().answer_there(self._about)

    def _take(self, answer: Frame, t_reply_ns: int) -> None:
        """Take in the answer to what has been under way for longest."""
        self.heard_ns = t_reply_ns
        message = self._under_way[0]
        self.down_bytes += len(answer.payload)
        self.frames_down += 1
        if answer.kind is Kind.REFUSED:
            raise LinkError(f"the cloud refused timestep {message.timestep}: {frames.unpack_reason(answer.payload)}")
        cloud_ns, logits = frames.unpack_result(answer.payload, self._classes)
        self.cloud_ns += cloud_ns
        self._under_way.popleft()
        self.waits.answered(t_reply_ns, more=bool(self._under_way))
        if not self._under_way:
            self._tempo.answered()
        if len(logits) != len(message.steps):
            raise LinkError(f"the cloud answered {len(logits)} timesteps, not {len(message.steps)}")
        self._answered += len(logits)
        asked = [step for step in message.steps if step.t_send_ns is not None]
        for step, row in zip(message.steps, logits, strict=True):
            step.logits, step.down_bytes = row, row.nbytes
            if step.t_send_ns is not None:
                step.t_reply_ns, step.cloud_ns = t_reply_ns, cloud_ns / len(asked)
            self._add(step)

    def _add(self, step: Step) -> None:
        """One more timestep is answered; after a confident one it is of no use."""
        if self.confident:
            self.in_vain.append(step)
            return
        self.steps.append(step)
        if self._rule is None or self.complete:
            return
        logits = np.stack([each.logits for each in self.steps if each.logits is not None])
        sure = confidence(accumulate(logits, self._rule.accumulate)[-1], self._rule.policy)
        self.confident = bool(sure >= self._rule.thresholds[len(self.steps) - 1])


def _describe(step: Step, code: NDArray[np.uint8]) -> None:
    step.code_bits, step.code_spikes = int(code.size), int(np.count_nonzero(code))
