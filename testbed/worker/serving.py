"""The cloud's thread: it answers data frames for as long as it is asked to, and never ends in silence."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from devices.emulation import Tempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.frames import Frame
from testbed.link.kinds import FrameError, Kind
from testbed.link.server import DataServer
from testbed.link.sockets import OnEvent
from testbed.link.sparing import Sparing
from testbed.modes.mode import CloudHalf

POLL_MS = 50


class Serving:
    """Answers the frames that come to a server with a mode's half.

    `on_fault` is told of the first error that is neither the link's nor a peer's, from this object's thread.

    Attributes:
        fault: what `on_fault` was told; None while there was no such error.
    """

    def __init__(
        self,
        server: DataServer,
        half: CloudHalf,
        tempo: Tempo,
        on_event: OnEvent,
        on_fault: Callable[[str], None],
        max_payload: int,
    ) -> None:
        self.fault: str | None = None
        self._server, self._half, self._tempo = server, half, tempo
        self._on_event, self._on_fault, self._max_payload = Sparing(on_event), on_fault, max_payload
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="data", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                received = self._server.recv(POLL_MS)
            except Exception as error:  # without its socket it could only fail again, and again at once
                self._note(error, "cannot receive and ends")
                return
            if received is None:
                continue
            try:
                self._serve_one(*received)
            except Exception as error:  # what goes wrong in refusing; the next frame is answered
                self._note(error, "could not refuse a frame")

    def _serve_one(self, peer: bytes, data: bytes) -> None:
        frame: Frame | None = None
        logits = None
        try:
            with self._tempo.computing() as span:
                frame = frames.unpack(data, self._max_payload)
                if frame.kind is Kind.END:
                    self._half.end(peer, frame.request)
                else:
                    logits = self._half.answer(peer, frame)
            self._tempo.rest()
            if logits is not None:
                payload = frames.pack_result(span.ns, logits)
                self._server.send(peer, frames.pack(Frame(Kind.RESULT, frame.request, frame.timestep, 0, payload)))
        except LinkError as error:
            self._refuse(
                peer, frame, error, error.reason if isinstance(error, FrameError) else "bad_payload", len(data)
            )
        except Exception as error:  # a bug, or a graph that fails; this frame is refused, the next one is answered
            self._note(error, "failed in answering a frame")
            self._refuse(peer, frame, error, "cloud_failed", len(data))

    def _refuse(self, peer: bytes, frame: Frame | None, error: Exception, reason: str, size: int) -> None:
        """Record a frame that cannot be answered, and say so to its sender where it is known which it was."""
        self._tempo.rest()
        if frame is None:
            self._on_event("frame_refused", {"reason": reason, "message": str(error), "bytes": size})
            return
        about = {"request": frame.request, "timestep": frame.timestep}
        self._on_event("frame_refused", {"reason": reason, "message": str(error), **about})
        text = frames.pack_reason(str(error))
        self._server.send(peer, frames.pack(Frame(Kind.REFUSED, frame.request, frame.timestep, 0, text)))

    def _note(self, error: Exception, what: str) -> None:
        """Keep an error that must not pass in silence, with its traceback in the worker's log."""
        message = f"the cloud's data plane {what}: {type(error).__name__}: {error}"
        if self._on_event("data_plane_failed", {"message": message}):
            traceback.print_exc()
        if self.fault is None:
            self.fault = message
            self._on_fault(message)
