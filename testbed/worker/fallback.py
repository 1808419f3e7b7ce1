"""Whether the cloud is asked: an edge that can answer alone does so while the cloud is late or gone.

After a loss the edge rests for `FIRST_PAUSE_S` and then probes. Each probe has a window to be echoed in, and the next
one follows when that is over: 1 s, 2 s, 4 s … up to `LONGEST_PAUSE_S` apart. All of it happens between two requests and
waits for nothing. The changes are events: `cloud_lost`, `probe_sent`, `probe_failed`, `cloud_back`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from testbed.errors import LinkError
from testbed.link.sockets import OnEvent
from testbed.link.uplink import Uplink
from testbed.modes.mode import EdgeHalf

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
GROWTH = 2.0
"""From one pause to the next."""
REHEARSALS = 20
"""How often the edge answers alone before it is needed: the least that a 95th percentile can be read from."""
PERCENTILE = 95
"""Of the rehearsals: how long an edge that takes over is expected to need."""


class Fallback:
    """An edge's state towards its cloud; `now_ns` is a monotonic clock.

    Attributes:
        half: what answers a request without the cloud.
        alone: whether it answers at once, because the cloud was lost and is not back yet.
    """

    def __init__(
        self, half: EdgeHalf, link: Uplink, on_event: OnEvent, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.half, self.alone = half, False
        self._link, self._on_event, self._now_ns = link, on_event, now_ns
        self._alone_ms = 0.0
        self._probe = 0
        self._lost_ns = self._until_ns = 0
        self._pause_s = 0.0
        self._probing = self._sent = self._broken = False

    def rehearsed(self, took_ms: Sequence[float], deadline_ms: int | None) -> None:
        """Learn how long the edge takes alone; requests then end at `deadline_ms`."""
        self._alone_ms = float(np.percentile(took_ms, PERCENTILE))
        detail = {"alone_p95_ms": self._alone_ms, "rehearsals": len(took_ms)}
        if deadline_ms is not None:
            detail["cloud_ms"] = self.cloud_ms(deadline_ms)
        self._on_event("fallback_ready", detail)

    def cloud_ms(self, deadline_ms: int) -> int:
        """How long the cloud has for a request, so that the edge can still take over in time.

        Where the edge alone takes longer than the deadline, taking over never helps, and the cloud has all of it.
        """
        left_ms = int(deadline_ms - self._alone_ms)
        return left_ms if left_ms > 0 else deadline_ms

    def lost(self, request: int, why: str) -> None:
        """The cloud did not answer that request, so the edge goes on alone. The caller makes a new connection."""
        self.alone, self._probing = True, False
        self._lost_ns = self._now_ns()
        self._pause_s = FIRST_PAUSE_S
        self._until_ns = self._lost_ns + _ns(FIRST_PAUSE_S)
        self._on_event("cloud_lost", {"request": request, "message": why, "pause_s": self._pause_s})

    def look(self) -> None:
        """Between two requests: see whether the cloud is back, and probe where that is due. Waits for nothing."""
        if not self.alone:
            return
        if self._sent and self._is_back():
            self.alone = False
            away_s = (self._now_ns() - self._lost_ns) / 1e9
            self._on_event("cloud_back", {"probe": self._probe, "away_s": away_s})
            return
        if self._probing and not (self._sent or self._broken):
            self._send()
        if self._now_ns() >= self._until_ns:
            if self._probing:
                self._give_up()
            self._begin()

    def _begin(self) -> None:
        """The next probe is due: send it now, or once there is a connection."""
        self._probe += 1
        self._pause_s = min(self._pause_s * GROWTH, LONGEST_PAUSE_S)
        self._until_ns = self._now_ns() + _ns(self._pause_s)
        self._probing, self._sent, self._broken = True, False, False
        self._send()

    def _send(self) -> None:
        try:
            self._sent = self._link.send_probe(self._probe)
        except LinkError as error:
            self._fail(str(error))
        if self._sent:
            # An edge may take longer for a request than the pause is; its probe still has its whole window.
            self._until_ns = self._now_ns() + _ns(self._pause_s)
            self._on_event("probe_sent", {"probe": self._probe, "pause_s": self._pause_s})

    def _is_back(self) -> bool:
        try:
            return self._link.has_echo(self._probe)
        except LinkError as error:
            self._fail(str(error))
            return False

    def _fail(self, why: str) -> None:
        """This probe's connection broke, so an echo would be of an older one; the next probe has its own time."""
        self._sent, self._broken = False, True
        self._on_event("probe_failed", {"probe": self._probe, "message": why})

    def _give_up(self) -> None:
        """The window is over without an echo; a new connection leaves this one's queue and late echo behind."""
        if not self._broken:
            what = "no echo" if self._sent else "no data connection"
            self._on_event("probe_failed", {"probe": self._probe, "message": f"{what} within {self._pause_s:g} s"})
        self._link.renew()


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
