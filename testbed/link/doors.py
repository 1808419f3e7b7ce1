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

from testbed.link.sockets import OnEvent

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27


class Doorkeeper:
    """A thread that answers libzmq's ZAP questions (RFC 27) and reports who was turned away."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        guarded: zmq.Socket[bytes],
        allowed: frozenset[str],
        on_event: OnEvent,
    ) -> None:
        self._allowed = allowed
        self._on_event = on_event
        self._zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(_ZAP_ENDPOINT)
        # A handshake that fails before the client's key is known never gets to ZAP.
        self._monitor = guarded.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_MONITOR_STOPPED
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
                ready = dict(poller.poll())
                if self._zap in ready:
                    self._answer()
                if self._monitor in ready:
                    event = recv_monitor_message(self._monitor)["event"]
                    if event == zmq.EVENT_MONITOR_STOPPED:
                        return
                    self._on_event("peer_refused", {"reason": "the handshake failed"})
        finally:
            self._zap.close()
            self._monitor.close(linger=0)

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
