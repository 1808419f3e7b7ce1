"""Where each request stands on a cloud that keeps state between timesteps."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from testbed.link.kinds import FrameError

StateT = TypeVar("StateT")

MAX_SESSIONS = 256
"""An edge that never ends its requests must not fill the cloud's memory: the oldest session goes first."""


class Sessions(Generic[StateT]):
    """The sessions of all edges. An edge that connects anew is a new peer, so its earlier requests end here."""

    def __init__(self, timesteps: int) -> None:
        self._timesteps = timesteps
        # By peer and request: the timestep that comes next, and the state that it starts from.
        self._sessions: OrderedDict[tuple[bytes, int], tuple[int, StateT]] = OrderedDict()

    def state(self, peer: bytes, request: int, timestep: int) -> StateT:
        """The state that a timestep after the first one starts from.

        Raises:
            FrameError: another timestep comes next, or there is no such session.
        """
        session = self._sessions.get((peer, request))
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
        self._sessions[peer, request] = (timestep + 1, state)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)

    def end(self, peer: bytes, request: int) -> None:
        """Forget a request."""
        self._sessions.pop((peer, request), None)
