"""What an emulated cloud answers is the same when it was computed ahead, and takes the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.activity import Activity, ActivityWriter
from devices.emulation import EmulatedTempo
from testbed.link.frames import Frame
from testbed.link.kinds import FrameError, Kind
from testbed.modes.foreseen import Foreseen
from testbed.modes.request import Request
from testbed.modes.sessions import Sessions
from tests.made import records

TIMESTEPS, CLASSES = 3, 10
CARD = records.model(timesteps=TIMESTEPS)
CHUNKS = [1] * TIMESTEPS
INPUTS = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1, 1)


class Edge:
    """Sends its sample at each timestep, a little changed."""

    def answer(self, request: Request) -> None:
        for timestep in range(request.timesteps):
            with request.computing():
                payload = message(int(request.x[0, 0, 0, 0]), timestep)
            request.send(Kind.STEP, payload, timestep=timestep, codec=2)
            request.settle()
            if request.confident:
                return


class Cloud:
    """Answers with the sum of all that a request has sent, and counts how often it computes."""

    def __init__(self, tempo: EmulatedTempo) -> None:
        self.calls = 0
        self._tempo = tempo
        self._sessions: Sessions[int] = Sessions(TIMESTEPS)

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        self.calls += 1
        before = 0 if frame.timestep == 0 else self._sessions.state(peer, frame.request, frame.timestep)
        total = before + sum(frame.payload)
        self._tempo.owe(1_000_000 * (frame.timestep + 1))
        self._sessions.keep(peer, frame.request, frame.timestep, total)
        return np.full((1, CLASSES), total, np.float32)

    def end(self, peer: bytes, request: int) -> None:
        self._sessions.end(peer, request)


def message(sample: int, timestep: int) -> bytes:
    return bytes([sample, timestep, sample])


@pytest.fixture
def tempo(tmp_path: Path) -> Iterator[EmulatedTempo]:
    writer = ActivityWriter(tmp_path / "activity")
    yield EmulatedTempo(writer, Activity.CPU)
    writer.close()


def asked(tempo: EmulatedTempo, cloud: Foreseen | Cloud, request: int, *payloads: bytes) -> list[tuple[float, int]]:
    """What it answers to each timestep, and how long that takes."""
    told = []
    for timestep, payload in enumerate(payloads):
        with tempo.computing() as span:
            logits = cloud.answer(b"edge", Frame(Kind.STEP, request, timestep, 2, payload))
        assert logits.shape == (1, CLASSES)
        told.append((float(logits[0, 0]), span.ns))
    return told


def sent(sample: int) -> list[bytes]:
    return [message(sample, timestep) for timestep in range(TIMESTEPS)]


def test_answers_and_their_times_are_those_of_computing_when_asked(tempo: EmulatedTempo) -> None:
    half = Cloud(tempo)
    live = [asked(tempo, half, 7, *sent(sample)) for sample in range(4)]
    cloud = Foreseen(half, CARD, tempo)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    calls = half.calls
    assert [asked(tempo, cloud, number, *sent(number)) for number in range(4)] == live
    assert half.calls == calls
    assert (cloud.samples, cloud.bytes) == (4, 4 * TIMESTEPS * CLASSES * 4)


def test_requests_may_take_turns(tempo: EmulatedTempo) -> None:
    half = Cloud(tempo)
    one, other = (asked(tempo, half, 7, *sent(sample)) for sample in (1, 2))
    cloud = Foreseen(half, CARD, tempo)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    found: dict[int, list[float]] = {1: [], 2: []}
    for timestep in range(TIMESTEPS):
        for sample in (1, 2):
            with tempo.computing():
                frame = Frame(Kind.STEP, sample, timestep, 2, message(sample, timestep))
                found[sample].append(float(cloud.answer(b"edge", frame)[0, 0]))
    assert found == {1: [logit for logit, _ in one], 2: [logit for logit, _ in other]}


def test_what_was_not_foreseen_is_computed_from_where_its_request_stands(tempo: EmulatedTempo) -> None:
    half = Cloud(tempo)
    odd = [*sent(1)[:2], b"\xff"]
    live = asked(tempo, half, 7, *odd)
    cloud = Foreseen(half, CARD, tempo)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    calls = half.calls
    assert asked(tempo, cloud, 8, *odd) == live
    assert half.calls == calls + 3  # the two that the half had not seen, at nobody's cost, and the third


def test_the_same_frame_after_others_is_another(tempo: EmulatedTempo) -> None:
    cloud = Foreseen(Cloud(tempo), CARD, tempo)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    mixed = [message(1, 0), message(2, 1)]
    assert asked(tempo, cloud, 1, *mixed) == asked(tempo, Cloud(tempo), 1, *mixed)


def test_a_request_that_is_over_is_unknown_as_it_is_to_the_half(tempo: EmulatedTempo) -> None:
    cloud = Foreseen(Cloud(tempo), CARD, tempo)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    asked(tempo, cloud, 1, message(1, 0))
    cloud.end(b"edge", 1)
    with pytest.raises(FrameError, match="no session"), tempo.computing():
        cloud.answer(b"edge", Frame(Kind.STEP, 1, 1, 2, message(1, 1)))


def test_what_finds_no_room_is_computed_when_asked(tempo: EmulatedTempo) -> None:
    half = Cloud(tempo)
    cloud = Foreseen(half, CARD, tempo, limit_bytes=2 * TIMESTEPS * CLASSES * 4)
    cloud.foresee(Edge(), INPUTS, CHUNKS)
    assert cloud.samples == 2
    calls = half.calls
    for sample in range(4):
        asked(tempo, cloud, sample, *sent(sample))
    assert half.calls == calls + 2 * TIMESTEPS
