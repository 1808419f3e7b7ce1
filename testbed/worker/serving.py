"""The cloud's thread: it answers data frames for as long as it is asked to, and never ends in silence."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from devices.tempo import Tempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.frames import Frame
from testbed.link.kinds import FrameError, Kind
from testbed.link.server import DataServer
from testbed.link.sockets import OnEvent
from testbed.link.sparing import Sparing
from testbed.modes.mode import CloudHalf
from testbed.worker.loop import MAX_REQUEST_ID
from testbed.worker.waiting import Message, Waiting

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
        self._waiting = Waiting()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="data", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stop.set()
        self._thread.join()

    @property
    def dropped(self) -> int:
        """How many frames were not answered because their request had ended."""
        return self._waiting.dropped

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # without its socket it could only fail again, and again at once
                self._note(error, "cannot receive and ends")
                return
            if not self._waiting:
                continue
            try:
                self._serve_one(*self._waiting.pop())
            except Exception as error:  # what goes wrong in refusing; the next frame is answered
                self._note(error, "could not refuse a frame")

    def _read(self) -> None:
        """Take in what is there; where nothing waits to be answered, wait a while for something."""
        wait_ms = 0 if self._waiting else POLL_MS
        while not self._waiting.full and (wait_ms or self._server.ready):
            received = self._server.recv(wait_ms)
            wait_ms = 0
            if received is not None:
                self._sort(*received)

    def _sort(self, peer: bytes, data: bytes) -> None:
        """Heed an END at once; all else waits its turn."""
        try:
            frame = frames.unpack(data, self._max_payload)
        except LinkError as error:
            self._waiting.put(Message(peer, error, len(data)))
            return
        if frame.kind is not Kind.END:
            self._waiting.put(Message(peer, frame, len(data)))
            return
        self._waiting.end(peer, frame.request)
        try:
            self._half.end(peer, frame.request)
        except Exception as error:  # a bug; the edge waits for no answer
            self._note(error, "failed in ending a request")

    def _serve_one(self, peer: bytes, frame: Frame | LinkError, size: int) -> None:
        try:
            if isinstance(frame, LinkError):
                raise frame
            if frame.kind is Kind.PROBE:  # before anything that takes time: it asks about the link
                self._server.send(
                    peer, frames.pack(Frame(Kind.ECHO, frame.request, 0, 0, frames.echo_of(frame.payload)))
                )
                return
            self._tempo.begin(counted=frame.request <= MAX_REQUEST_ID)
            with self._tempo.computing() as span:
                logits = self._half.answer(peer, frame)
            payload = frames.pack_result(span.ns, logits)
            answer = frames.pack(Frame(Kind.RESULT, frame.request, frame.timestep, 0, payload))
            self._tempo.settle()
            self._server.send(peer, answer)
        except LinkError as error:
            reason = error.reason if isinstance(error, FrameError) else "bad_payload"
            self._refuse(peer, frame, error, reason, size)
        except Exception as error:  # a bug, or a graph that fails; this frame is refused, the next one is answered
            self._note(error, "failed in answering a frame")
            self._refuse(peer, frame, error, "cloud_failed", size)

    def _refuse(self, peer: bytes, frame: Frame | LinkError, error: Exception, reason: str, size: int) -> None:
        """Record a frame that cannot be answered, and say so to its sender where it is known which it was."""
        self._tempo.settle()
        if isinstance(frame, LinkError):
            self._on_event(
                "frame_refused", {"reason": reason, "peer": peer.hex(), "message": str(error), "bytes": size}
            )
            return
        about = {"request": frame.request, "timestep": frame.timestep}
        self._on_event("frame_refused", {"reason": reason, "peer": peer.hex(), "message": str(error), **about})
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
