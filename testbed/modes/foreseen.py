"""What an emulated cloud will answer, computed before it is asked. Then its host only waits.

What a cloud answers depends on the frames of the request alone. Its host has the samples that will be measured. It runs
the edge's half of the mode on each, without an exit, so that it sees every frame that an edge may send.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from devices.tempo import RealTempo, Tempo
from testbed.link import frames
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.modes.ahead import LIMIT_BYTES, Kept
from testbed.modes.request import Request
from testbed.modes.sessions import MAX_SESSIONS

if TYPE_CHECKING:
    from testbed.modes.mode import CloudHalf, EdgeHalf
    from testbed.runtime.artefact import ModelCard

PLAY_MS = 3_600_000
"""How long the edge's half may take for one sample on the cloud's host: it waits for nobody."""


@dataclass
class _Line:
    """A request as far as it has come: what it is known by, its answers, and the frames that the half has not seen."""

    key: bytes = b""
    answered: int = 0
    unseen: list[Frame] = field(default_factory=list)


class Foreseen:
    """A cloud's half that knows some of its answers already. A frame is known by it and all before it in its request.

    Where a frame was not foreseen, the half is shown those that it has not seen, and computes.

    Attributes:
        samples: how many samples' answers are kept.
        bytes: what they take.
    """

    def __init__(self, half: CloudHalf, card: ModelCard, tempo: Tempo, limit_bytes: int = LIMIT_BYTES) -> None:
        self.samples = self.bytes = 0
        self._half, self._card, self._tempo, self._limit_bytes = half, card, tempo, limit_bytes
        self._kept: dict[bytes, Kept] = {}
        self._lines: OrderedDict[tuple[bytes, int], _Line] = OrderedDict()

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        """Logits [T', K], as the half would answer.

        Raises:
            LinkError: as the half's.
        """
        place = (peer, frame.request)
        line = _Line() if frame.timestep == 0 else self._lines.get(place)
        if line is None:
            return self._half.answer(peer, frame)
        line.key = _key(line.key, frame)
        kept = self._kept.get(line.key)
        if kept is None:
            for earlier in line.unseen:
                self._tempo.trial(partial(self._half.answer, peer, earlier))
            line.unseen.clear()
            logits = self._half.answer(peer, frame)
        else:
            self._tempo.owe(kept.owed_ns)
            line.unseen.append(frame._replace(payload=bytes(frame.payload)))
            logits = kept.y
        self._keep(place, line, len(logits))
        return logits

    def end(self, peer: bytes, request: int) -> None:
        """Forget a request."""
        self._lines.pop((peer, request), None)
        self._half.end(peer, request)

    def foresee(self, edge: EdgeHalf, inputs: Iterable[NDArray[np.uint8]], chunks: Sequence[int]) -> None:
        """Compute the answers to what the edge's half sends for these inputs in these chunks, while there is room."""
        for x in inputs:
            found: dict[bytes, Kept] = {}
            play = _Play(partial(self._learn, found))
            edge.answer(Request(0, x, self._card, None, RealTempo(), play, Deadline(PLAY_MS), chunks=chunks))
            self._half.end(_NOBODY, 0)
            size = sum(kept.y.nbytes for kept in found.values())
            if self.bytes + size > self._limit_bytes:
                return
            self._kept |= found
            self.samples, self.bytes = self.samples + 1, self.bytes + size

    def _learn(self, found: dict[bytes, Kept], key: bytes, frame: Frame) -> NDArray[np.float32]:
        logits: list[NDArray[np.float32]] = []
        owed_ns = self._tempo.trial(lambda: logits.append(self._half.answer(_NOBODY, frame)))
        y = np.array(logits[0])
        y.flags.writeable = False
        found[key] = Kept(y, owed_ns)
        return y

    def _keep(self, place: tuple[bytes, int], line: _Line, answers: int) -> None:
        line.answered += answers
        self._lines[place] = line
        self._lines.move_to_end(place)
        if line.answered >= self._card.timesteps:
            del self._lines[place]
        elif len(self._lines) > MAX_SESSIONS:
            self._lines.popitem(last=False)


class _Play:
    """A link without a link: what is sent is answered at once."""

    def __init__(self, answer: Callable[[bytes, Frame], NDArray[np.float32]]) -> None:
        self._answer, self._key = answer, b""
        self._there: list[Frame] = []

    def send(self, data: bytes, deadline: Deadline, *, awaiting: bool = False) -> None:
        """Have it answered."""
        frame = frames.unpack(data, len(data))
        self._key = _key(self._key, frame)
        payload = frames.pack_result(0, self._answer(self._key, frame))
        self._there.append(Frame(Kind.RESULT, frame.request, frame.timestep, 0, payload))

    def answer(self, about: tuple[int, int], deadline: Deadline) -> Frame:
        """The answer to what was sent first and is not answered yet."""
        return self._there.pop(0)

    def answer_there(self, about: tuple[int, int]) -> Frame | None:
        """The same, if there is something."""
        return self._there.pop(0) if self._there else None


_NOBODY = b""


def _key(before: bytes, frame: Frame) -> bytes:
    head = before + bytes([frame.kind, frame.timestep, frame.codec])
    return hashlib.blake2b(head + bytes(frame.payload), digest_size=16).digest()
