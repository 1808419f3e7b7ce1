"""Where each request stands on a cloud that keeps state between timesteps."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from testbed.link.kinds import FrameError

StateT = TypeVar("StateT")

MAX_SESSIONS = 256
"""An edge that never ends its requests must not fill the cloud's memory, nor cost another edge its session."""


class Sessions(Generic[StateT]):
    """The sessions of all edges. An edge that connects anew is a new peer, so its earlier requests end here.

    Where there are too many, the peer with the most loses the one that has rested longest.
    """

    def __init__(self, timesteps: int) -> None:
        self._timesteps = timesteps
        # By peer and request, the last used one at the end: the timestep that comes next, and the state it starts from.
        self._peers: OrderedDict[bytes, OrderedDict[int, tuple[int, StateT]]] = OrderedDict()
        self._count = 0

    def state(self, peer: bytes, request: int, timestep: int) -> StateT:
        """The state that a timestep after the first one starts from.

        Raises:
            FrameError: another timestep comes next, or there is no such session.
        """
        own = self._peers.get(peer)
        session = None if own is None else own.get(request)
        if session is None:
            raise FrameError("unknown_session", f"request {request} has no session here")
        next_timestep, state = session
        if timestep != next_timestep:
            raise FrameError("bad_timestep", f"request {request} is at timestep {next_timestep}, not {timestep}")
        return state

    def keep(self, peer: bytes, request: int, timestep: int, state: StateT) -> None:
        """Keep the state after a timestep; after the last one nothing is kept."""
        if timestep + 1 == self._timesteps:
            self.end(peer, request)
            return
        own = self._peers.setdefault(peer, OrderedDict())
        self._count += request not in own
        own[request] = (timestep + 1, state)
        own.move_to_end(request)
        self._peers.move_to_end(peer)
        if self._count > MAX_SESSIONS:
            greediest = max(self._peers, key=lambda each: len(self._peers[each]))
            self.end(greediest, next(iter(self._peers[greediest])))

    def end(self, peer: bytes, request: int) -> None:
        """Forget a request."""
        own = self._peers.get(peer)
        if own is not None and own.pop(request, None) is not None:
            self._count -= 1
            if not own:
                del self._peers[peer]
