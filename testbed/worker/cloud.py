"""The cloud's work: it answers data frames, with one state list per (edge, request)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from devices.activity import Activity
from testbed.errors import LinkError
from testbed.link import frames, messages
from testbed.link.codec import CodecBook
from testbed.link.frames import Frame, FrameError, Kind
from testbed.link.messages import Load
from testbed.link.transport import DataServer
from testbed.record.documents import BackboneForm, Finished, Loaded
from testbed.runtime.artefact import verify
from testbed.runtime.onnx import OnnxGraph, State
from testbed.worker.backbone import Backbone
from testbed.worker.station import Station

MAX_SESSIONS = 256
"""An edge that never ends its requests must not fill the cloud's memory: the oldest session goes first."""

POLL_MS = 50


class Session(NamedTuple):
    """Where one request stands: the timestep that comes next and the cloud layers' state."""

    next_timestep: int
    state: State


class CloudWork:
    """One repeat of one cell, on the cloud. `loaded` says where its data plane listens."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self._station = Station(load, node, cancel)
        folder = Path(load.artefact)
        self._card = verify(folder, load.artefact_hash)
        runtime = load.profile.runtime
        self._sessions: OrderedDict[tuple[bytes, int], Session] = OrderedDict()
        self._half: OnnxGraph | None = None
        self._backbone: Backbone | None = None
        form: BackboneForm | None = None
        if load.config.mode == "co_inference":
            self._half = OnnxGraph(folder / "cloud.onnx", runtime.threads, runtime.provider)
            self._codecs = CodecBook(self._card.code_shape, self._card.code_rates)
        elif load.config.mode == "cloud_only":
            self._backbone = Backbone(folder, self._card, runtime.threads, runtime.provider)
            form = BackboneForm(form=self._backbone.form, trial_ms=self._backbone.trial_ms)
        self._server: DataServer | None = None
        if load.config.mode != "edge_only":
            self._max_payload = max(4 * _elements(self._card.code_shape), _elements(self._card.sample_shape))
            self._server = DataServer(
                load.profile.address,
                load.profile.data_port,
                load.data_keys,
                load.allowed_clients,
                max_message_bytes=self._max_payload + frames.HEADER_BYTES,
                on_event=lambda name, detail: self._station.event(name, **detail),
            )
            self._thread = threading.Thread(target=self._serve, args=(self._server,), name="data", daemon=True)
            self._stop = threading.Event()
            self._thread.start()
        self.loaded = messages.Loaded(
            data_endpoint=None if self._server is None else self._server.endpoint,
            detail=Loaded(power=self._station.capabilities, backbone=form),
        )

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def finish(self) -> Finished:
        """Close the data plane and the record."""
        if self._server is not None:
            self._stop.set()
            self._thread.join()
            self._server.close()
            self._server = None
        return self._station.finish()

    def _serve(self, server: DataServer) -> None:
        while not self._stop.is_set():
            received = server.recv(POLL_MS)
            if received is None:
                continue
            start_ns = time.monotonic_ns()
            peer, data = received
            try:
                frame = frames.unpack(data, self._max_payload)
            except FrameError as error:
                self._station.event("frame_refused", reason=error.reason, message=str(error), bytes=len(data))
                continue
            self._station.set(Activity.COMPUTE)
            try:
                logits = self._answer(peer, frame)
            except LinkError as error:
                self._station.set(Activity.IDLE)
                reason = error.reason if isinstance(error, FrameError) else "bad_payload"
                self._station.event(
                    "frame_refused", reason=reason, message=str(error), request=frame.request, timestep=frame.timestep
                )
                refusal = Frame(Kind.REFUSED, frame.request, frame.timestep, 0, frames.pack_reason(str(error)))
                server.send(peer, frames.pack(refusal))
                continue
            end_ns = self._station.slowdown.stretch(start_ns)
            self._station.set(Activity.IDLE)
            if logits is not None:
                payload = frames.pack_result(end_ns - start_ns, logits)
                server.send(peer, frames.pack(Frame(Kind.RESULT, frame.request, frame.timestep, 0, payload)))

    def _answer(self, peer: bytes, frame: Frame) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """Logits [T', K] for a frame, or None where no answer is due.

        Raises:
            LinkError: this frame cannot be answered; the others can.
        """
        key = (peer, frame.request)
        if frame.kind is Kind.END:
            self._sessions.pop(key, None)
            return None
        if frame.kind is Kind.INPUT and self._backbone is not None:
            if len(frame.payload) != _elements(self._card.sample_shape):
                raise FrameError("bad_length", f"an input of {len(frame.payload)} bytes is not of this model's shape")
            x = np.frombuffer(frame.payload, dtype=np.uint8).reshape(1, *self._card.sample_shape)
            return self._backbone.run(x)
        if frame.kind is not Kind.STEP or self._half is None:
            raise FrameError("bad_kind", f"no {frame.kind.name} frame is expected in this cell")
        session = self._sessions.get(key)
        if frame.timestep == 0:
            session = Session(0, self._half.initial_state())
        if session is None:
            raise FrameError("unknown_session", f"request {frame.request} has no session here")
        if frame.timestep != session.next_timestep:
            raise FrameError(
                "bad_timestep", f"request {frame.request} is at timestep {session.next_timestep}, not {frame.timestep}"
            )
        code = self._codecs.decode(frame.codec, frame.payload, frame.timestep)
        logits, state = self._half.step(code[None], session.state)
        if frame.timestep + 1 == self._card.timesteps:
            self._sessions.pop(key, None)
        else:
            self._sessions[key] = Session(frame.timestep + 1, state)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return logits


def _elements(shape: list[int] | None) -> int:
    return int(np.prod(shape or [0]))
