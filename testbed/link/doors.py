"""Who is let in: the keys that a CURVE server admits, and a word about everybody else.

pyzmq's authenticator (`zmq.auth`) could answer libzmq's questions too. It tells its callback which key knocks but not
from which address, so nobody would find the machine that was refused. A handshake that fails before there is a key,
such as a port scanner's, never reaches it. This thread hears of both.
"""

from __future__ import annotations

import threading

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from testbed.link.crowd import LOOK_S, Crowd
from testbed.link.sockets import OnEvent
from testbed.link.sparing import Sparing

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


class Doorkeeper:
    """A thread that answers libzmq's ZAP questions (RFC 27), keeps a crowd in bounds and reports who was refused.

    However many are turned away, what is reported of them is bounded (`Sparing`).
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        guarded: zmq.Socket[bytes],
        allowed: frozenset[str],
        on_event: OnEvent,
        crowd: Crowd | None = None,
    ) -> None:
        self._allowed = allowed
        self._on_event, self._crowd = Sparing(on_event), crowd
        self._zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP_ENDPOINT)
        # A handshake that fails before the client's key is known never gets to ZAP.
        self._monitor = guarded.get_monitor_socket(
            _FAILED | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED
        )
        self._thread = threading.Thread(target=self._serve, name="doorkeeper", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, which comes when the guarded socket is closed."""
        self._thread.join()

    def _serve(self) -> None:
        try:
            poller = zmq.Poller()
            poller.register(self._zap, zmq.POLLIN)
            poller.register(self._monitor, zmq.POLLIN)
            while True:
                ready = dict(
                    poller.poll(round(LOOK_S * 1000) if self._crowd is not None and len(self._crowd) else None)
                )
                if self._zap in ready:
                    self._answer()
                if self._monitor in ready:
                    event = recv_monitor_message(self._monitor)
                    if event["event"] == zmq.EVENT_MONITOR_STOPPED:
                        return
                    self._heard(event["event"], event["value"], event["endpoint"].decode())
                if self._crowd is not None:
                    for address in self._crowd.without_end():
                        self._on_event("peer_refused", {"reason": "a message without end", "address": address})
        finally:
            self._zap.close()
            self._monitor.close(linger=0)

    def _heard(self, event: int, value: int, endpoint: str) -> None:
        """Take in one event; `value` is the connection's descriptor where it is made or gone."""
        if event & _FAILED:
            self._on_event("peer_refused", {"reason": "the handshake failed"})
        elif self._crowd is not None and event == zmq.EVENT_ACCEPTED:
            if (address := self._crowd.accepted(value, endpoint)) is not None:
                self._on_event("peer_refused", {"reason": "too many connections", "address": address})
        elif self._crowd is not None:
            self._crowd.gone(value)

    def _answer(self) -> None:
        parts = self._zap.recv_multipart()
        version, request, address, mechanism, credentials = *parts[:2], parts[3], parts[5], parts[6:]
        key = z85.encode(credentials[0]).decode("ascii") if mechanism == b"CURVE" else ""
        admitted = key in self._allowed
        status = (b"200", b"OK") if admitted else (b"400", b"key not allowed")
        self._zap.send_multipart((version, request, *status, b"", b""))
        if not admitted:
            self._on_event(
                "peer_refused",
                {"reason": "key not allowed", "address": address.decode("ascii", "replace"), "key": key},
            )
