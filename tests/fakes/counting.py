"""A mode without a model, as a package would add it: a byte goes up at each timestep, and the cloud keeps all of them.

The logits of a timestep name the class that all bytes so far agree on, and no class where a session has mixed up its
requests. What a test put into `before` happens right before that timestep of that request is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.modes.kit import Kit
from testbed.modes.request import Request
from testbed.modes.sessions import Sessions
from testbed.record.mode import ModeFacts

Actions = dict[tuple[int, int], list[Callable[[], object]]]

before: Actions = defaultdict(list)
"""What happens on the edge, by request and timestep."""

answering: Actions = defaultdict(list)
"""What happens on the cloud before it answers, by request and timestep."""

alone: Actions = defaultdict(list)
"""What happens on the edge that answers alone, by request and timestep."""


class _Edge:
    def answer(self, request: Request) -> None:
        for timestep in range(request.timesteps):
            if not request.room():
                return
            for action in before[request.number, timestep]:
                action()
            with request.computing():
                code = request.x.reshape(-1)[:1]
            request.send(Kind.STEP, code.tobytes(), timestep=timestep, code=code)
        request.settle()


class _Cloud:
    def __init__(self, kit: Kit) -> None:
        self._classes = len(kit.card.classes)
        self._sessions: Sessions[bytes] = Sessions(kit.card.timesteps)

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        for action in answering[frame.request, frame.timestep]:
            action()
        earlier = self._sessions.state(peer, frame.request, frame.timestep) if frame.timestep else b""
        seen = earlier + bytes(frame.payload)
        self._sessions.keep(peer, frame.request, frame.timestep, seen)
        logits = np.zeros((1, self._classes), np.float32)
        if len(set(seen)) == 1 and len(seen) == frame.timestep + 1:
            logits[0, seen[0]] = 1.0
        return logits

    def end(self, peer: bytes, request: int) -> None:
        self._sessions.end(peer, request)


class Counting:
    facts = ModeFacts(
        name="counting",
        title="counting",
        roles=("edge", "cloud"),
        sends="code",
        exits=True,
        edge_part=None,
        cloud_part="cloud",
    )

    def edge(self, kit: Kit) -> _Edge:
        return _Edge()

    def cloud(self, kit: Kit) -> _Cloud:
        return _Cloud(kit)


COUNTING = Counting()


class _Whole:
    def answer(self, request: Request) -> None:
        for timestep in range(request.timesteps):
            for action in alone[request.number, timestep]:
                action()
            with request.computing():
                logits = np.zeros(3, np.float32)
                logits[request.x.reshape(-1)[0]] = 2.0
            request.give(logits)


class Alone:
    """The same without a cloud, to fall back on."""

    facts = ModeFacts(
        name="alone",
        title="alone",
        roles=("edge",),
        sends="nothing",
        exits=False,
        edge_part=None,
        cloud_part=None,
    )

    def edge(self, kit: Kit) -> _Whole:
        return _Whole()

    def cloud(self, kit: Kit) -> None:
        return None


ALONE = Alone()
