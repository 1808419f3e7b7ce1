"""What a cloud has read and not answered yet; what is of a request that has ended waits no longer."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from testbed.errors import LinkError
from testbed.link.frames import Frame
from testbed.link.sockets import HIGH_WATER_MARK
from testbed.modes.sessions import MAX_SESSIONS


class Message(NamedTuple):
    """What a peer sent in so many bytes: a frame, or why it is none."""

    peer: bytes
    frame: Frame | LinkError
    size: int

    def is_of(self, peer: bytes, request: int) -> bool:
        """Whether it belongs to that request."""
        return self.peer == peer and isinstance(self.frame, Frame) and self.frame.request == request


class Waiting:
    """Frames that are read and not answered yet, in their order; at most as many as a queue of ZeroMQ holds.

    An edge sends ahead of its answers. When it has its exit, END follows what it has sent in vain. So everything that
    is there is read before the next frame is answered, and what is of a request that has ended is dropped.

    Attributes:
        dropped: how many frames were.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._queue: deque[Message] = deque()
        # By peer, the one that ended last at the end. An edge has one request at a time.
        self._ended: OrderedDict[bytes, int] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether it holds as many as it may."""
        return len(self._queue) >= HIGH_WATER_MARK

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, message: Message) -> None:
        """The next one, unless it comes after its request has ended."""
        frame, ended = message.frame, self._ended.get(message.peer)
        if isinstance(frame, Frame) and frame.request == ended and frame.timestep > 0:
            self.dropped += 1
        else:
            self._queue.append(message)

    def pop(self) -> Message:
        """The one that has waited for longest."""
        return self._queue.popleft()

    def end(self, peer: bytes, request: int) -> None:
        """That request is over: what waits of it is dropped, and so is what still comes."""
        kept = [one for one in self._queue if not one.is_of(peer, request)]
        self.dropped += len(self._queue) - len(kept)
        self._queue = deque(kept)
        self._ended[peer] = request
        self._ended.move_to_end(peer)
        if len(self._ended) > MAX_SESSIONS:
            self._ended.popitem(last=False)
