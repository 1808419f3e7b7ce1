"""The cloud's thread when what it stands on breaks."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
import pytest

from devices.tempo import RealTempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.worker.serving import Serving

STEP = frames.pack(Frame(Kind.STEP, 7, 1, payload=b"?"))


class Server:
    """A data server whose messages are those in `inbox`; an exception there is raised."""

    def __init__(self, *inbox: bytes | Exception) -> None:
        self.sent: queue.Queue[Frame] = queue.Queue()
        self.send_fails: Exception | None = None
        self._inbox = list(inbox)

    def recv(self, timeout_ms: int) -> tuple[bytes, bytes] | None:
        if not self._inbox:
            return None
        message = self._inbox.pop(0)
        if isinstance(message, Exception):
            raise message
        return b"peer", message

    @property
    def ready(self) -> bool:
        return bool(self._inbox)

    def send(self, peer: bytes, data: bytes) -> bool:
        failure, self.send_fails = self.send_fails, None
        if failure is not None:
            raise failure
        self.sent.put(frames.unpack(data, 1000))
        return True


class Half:
    """Answers with what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.ended: list[int] = []
        self._answer = answer

    def answer(self, peer: bytes, frame: Frame) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def end(self, peer: bytes, request: int) -> None:
        self.ended.append(request)


class Cloud:
    """A serving thread, and the events that it told of."""

    def __init__(self, server: Server, answer: Any = None) -> None:
        self.events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.server, self.half = server, Half(np.zeros((1, 2), np.float32) if answer is None else answer)
        on_event = lambda name, detail: self.events.put((name, detail))  # noqa: E731
        self.faults: list[str] = []
        self.serving = Serving(server, self.half, RealTempo(), on_event, self.faults.append, 1000)

    def __enter__(self) -> Cloud:
        self.serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.serving.stop()

    def event(self) -> tuple[str, dict[str, Any]]:
        return self.events.get(timeout=20)


def test_a_frame_is_answered_with_the_time_it_took() -> None:
    with Cloud(Server(STEP)) as cloud:
        answer = cloud.server.sent.get(timeout=20)
        assert (answer.kind, answer.request, answer.timestep) == (Kind.RESULT, 7, 1)
        duration_ns, logits = frames.unpack_result(answer.payload, 2)
        assert duration_ns > 0
        assert logits.tolist() == [[0.0, 0.0]]
    assert cloud.serving.fault is None
    assert not cloud.faults


def test_an_end_is_handed_on_and_not_answered() -> None:
    with Cloud(Server(frames.pack(Frame(Kind.END, 9)), STEP)) as cloud:
        assert cloud.server.sent.get(timeout=20).request == 7
    assert cloud.half.ended == [9]


def test_what_is_of_a_request_that_has_ended_is_dropped_before_its_end_and_after_it() -> None:
    def step(request: int, timestep: int) -> bytes:
        return frames.pack(Frame(Kind.STEP, request, timestep, payload=b"?"))

    end = frames.pack(Frame(Kind.END, 3))
    with Cloud(Server(step(3, 2), step(3, 3), end, step(4, 0), step(3, 4), step(4, 1))) as cloud:
        answered = [cloud.server.sent.get(timeout=20) for _ in range(2)]
    assert [(frame.request, frame.timestep) for frame in answered] == [(4, 0), (4, 1)]
    assert cloud.half.ended == [3]
    assert cloud.serving.dropped == 3
    assert cloud.events.empty()
    with Cloud(Server(end, step(3, 0))) as cloud:  # the same number again is another request
        assert cloud.server.sent.get(timeout=20).timestep == 0


def test_an_error_of_the_link_is_refused_and_is_no_fault() -> None:
    with Cloud(Server(STEP), LinkError("not so")) as cloud:
        answer = cloud.server.sent.get(timeout=20)
        assert (answer.kind, frames.unpack_reason(answer.payload)) == (Kind.REFUSED, "not so")
        assert cloud.event() == (
            "frame_refused",
            {"reason": "bad_payload", "peer": b"peer".hex(), "message": "not so", "request": 7, "timestep": 1},
        )
    assert cloud.serving.fault is None


def test_a_peer_that_sends_nonsense_without_end_is_told_of_ever_less() -> None:
    with Cloud(Server(*[b"nonsense"] * 300, STEP)) as cloud:
        assert cloud.server.sent.get(timeout=20).kind is Kind.RESULT  # the last one was reached
        told = []
        while not cloud.events.empty():
            told.append(cloud.event())
    assert {name for name, _ in told} == {"frame_refused"}
    assert {detail["peer"] for _, detail in told} == {b"peer".hex()}
    assert len(told) < 20
    assert told[-1][1]["so_far"] == 256


def test_an_unexpected_error_is_refused_recorded_and_reported_and_the_next_frame_answered(capsys) -> None:
    with Cloud(Server(STEP, STEP), KeyError("spikes")) as cloud:
        answers = [cloud.server.sent.get(timeout=20) for _ in range(2)]
        assert [answer.kind for answer in answers] == [Kind.REFUSED, Kind.REFUSED]
        assert [cloud.event()[0] for _ in range(2)] == ["data_plane_failed", "frame_refused"]
    assert cloud.faults == ["the cloud's data plane failed in answering a frame: KeyError: 'spikes'"]
    assert cloud.serving.fault == cloud.faults[0]
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError("no socket"), LinkError("cannot receive")])
def test_a_socket_that_breaks_ends_the_thread_but_not_in_silence(error: Exception, capsys) -> None:
    with Cloud(Server(error)) as cloud:
        name, detail = cloud.event()
    assert name == "data_plane_failed"
    assert "cannot receive and ends" in detail["message"]
    assert cloud.faults == [detail["message"]]
    assert "Traceback" in capsys.readouterr().err


def test_a_refusal_that_cannot_be_sent_is_reported_and_the_next_frame_answered(capsys) -> None:
    server = Server(STEP, STEP)
    server.send_fails = OSError("no route")
    with Cloud(server) as cloud:
        # Sending the answer fails, which is refused; the next one is answered.
        assert server.sent.get(timeout=20).kind is Kind.REFUSED
        assert server.sent.get(timeout=20).kind is Kind.RESULT
    assert "OSError: no route" in str(cloud.serving.fault)
    assert "Traceback" in capsys.readouterr().err
