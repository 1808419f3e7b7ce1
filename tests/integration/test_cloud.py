"""The cloud's data plane, spoken to by edges that behave and by some that do not."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.profile import load_profile
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.client import DataClient
from testbed.link.codec import codec_named
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.kinds import Kind
from testbed.link.messages import CellConfig, Load
from testbed.modes.sessions import MAX_SESSIONS
from testbed.record.log import read_rows
from testbed.record.schema import EventRow
from testbed.runtime.artefact import ModelCard, load_card
from testbed.runtime.onnx import OnnxGraph
from testbed.worker.cloud import CloudWork

pytestmark = pytest.mark.timeout(300)

PACKED = codec_named("packed")
Codes = list[NDArray[np.uint8]]


def soon() -> Deadline:
    return Deadline(3000)


class Cloud:
    """A cloud's work in this process, with the keys of the edges that it lets in."""

    def __init__(self, models: Path, out: Path) -> None:
        self.artefact = models / "models" / "digits-resnet18" / "coded"
        self.card: ModelCard = load_card(self.artefact)
        self.edges = [new_keypair(), new_keypair()]
        self._server = new_keypair()
        self._events = out / "events.jsonl"
        load = Load(
            profile=load_profile(Path(__file__).parents[2] / "devices" / "host.yaml"),
            role="cloud",
            repeat=0,
            config=CellConfig(mode="co_inference", timeout_ms=1000, codec="packed"),
            artefact=str(self.artefact),
            artefact_hash=self.card.hash,
            bundle=None,
            bundle_hash=None,
            out_dir=str(out),
            data_keys=self._server,
            allowed_clients=[keys.public for keys in self.edges],
        )
        self.work = CloudWork(load, "bench-cloud", threading.Event(), pytest.fail)

    def client(self, keys: KeyPair) -> DataClient:
        return DataClient(self.work.loaded.data_endpoint or "", keys, self._server.public)

    def events(self) -> list[EventRow]:
        return list(read_rows(self._events, EventRow)) if self._events.exists() else []

    def wait_for_events(self, count: int) -> list[EventRow]:
        deadline = time.monotonic() + 5
        while len(self.events()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.events()

    def codes(self, seed: int) -> Codes:
        """A code for each timestep."""
        rng = np.random.default_rng(seed)
        return [rng.integers(0, 2, self.card.code_shape, dtype=np.uint8) for _ in range(self.card.timesteps)]

    def alone(self, codes: Codes) -> list[NDArray[np.float32]]:
        """Logits of each timestep by a graph that nobody else uses."""
        graph = OnnxGraph(self.artefact / "cloud.onnx", 1, "cpu")
        state, logits = graph.initial_state(), []
        for code in codes:
            y, state = graph.step(code[None], state)
            logits.append(y[0])
        return logits


@pytest.fixture
def cloud(models: Path, tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(models, tmp_path)
    yield cloud
    cloud.work.finish()


@pytest.fixture
def edge(cloud: Cloud) -> Iterator[DataClient]:
    with cloud.client(cloud.edges[0]) as client:
        client.connect(soon())
        yield client


def step(request: int, timestep: int, code: NDArray[np.uint8]) -> bytes:
    return frames.pack(Frame(Kind.STEP, request, timestep, PACKED.wire_id, PACKED.encode(code)))


def answer(cloud: Cloud, edge: DataClient, request: int, timestep: int, code: NDArray[np.uint8]) -> NDArray[np.float32]:
    frame = frames.unpack(edge.request(step(request, timestep, code), soon()), 1 << 16)
    assert (frame.kind, frame.request, frame.timestep) == (Kind.RESULT, request, timestep)
    duration_ns, logits = frames.unpack_result(frame.payload, len(cloud.card.classes))
    assert duration_ns > 0
    return logits[0]


def refusal(edge: DataClient, data: bytes) -> str:
    frame = frames.unpack(edge.request(data, soon()), 1 << 16)
    assert frame.kind is Kind.REFUSED
    return frames.unpack_reason(frame.payload)


def test_a_session_gives_the_logits_of_the_graph(cloud, edge) -> None:
    codes = cloud.codes(0)
    logits = [answer(cloud, edge, 7, timestep, code) for timestep, code in enumerate(codes)]
    assert np.array_equal(logits, cloud.alone(codes))
    assert not np.array_equal(logits[0], logits[1])


def test_interleaved_sessions_give_what_they_give_alone(cloud, edge) -> None:
    with cloud.client(cloud.edges[1]) as other:
        other.connect(soon())
        # The same request number at two edges, and two requests of one edge.
        sessions = [(edge, 1), (other, 1), (edge, 2)]
        codes = [cloud.codes(seed) for seed in range(len(sessions))]
        logits: list[list[NDArray[np.float32]]] = [[] for _ in sessions]
        for timestep in range(cloud.card.timesteps):
            for number, (client, request) in enumerate(sessions):
                logits[number].append(answer(cloud, client, request, timestep, codes[number][timestep]))
    for number in range(len(sessions)):
        assert np.array_equal(logits[number], cloud.alone(codes[number]))
    assert not cloud.events()


def _with_byte(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + bytes([value]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("bad_magic", lambda data: b"GET / HTTP/1.1\r\n\r\n"),
        ("bad_length", lambda data: data[:-1]),
        ("bad_length", lambda data: data + b"\0"),
        ("bad_length", lambda data: b""),
        ("bad_version", lambda data: _with_byte(data, 2, 99)),
        ("bad_kind", lambda data: _with_byte(data, 3, 99)),
        ("bad_reserved", lambda data: _with_byte(data, 10, 1)),
        ("bad_length", lambda data: data[:12] + struct.pack("<I", 0xFFFF_FFFF) + data[16:]),
    ],
)
def test_bytes_that_are_no_frame_are_recorded_and_harm_nobody(
    cloud, edge, reason: str, spoil: Callable[[bytes], bytes]
) -> None:
    codes = cloud.codes(0)
    logits = [answer(cloud, edge, 1, 0, codes[0])]

    edge.send(spoil(step(1, 1, codes[1])), soon())

    (event,) = cloud.wait_for_events(1)
    assert (event.event, event.detail["reason"]) == ("frame_refused", reason)
    logits += [answer(cloud, edge, 1, timestep, codes[timestep]) for timestep in range(1, len(codes))]
    assert np.array_equal(logits, cloud.alone(codes))


def test_steps_that_do_not_fit_are_refused_with_the_reason(cloud, edge) -> None:
    codes = cloud.codes(0)
    logits = [answer(cloud, edge, 1, 0, codes[0])]
    payload = PACKED.encode(codes[1])

    def frame(request: int, timestep: int, codec: int = PACKED.wire_id, payload: bytes = payload) -> bytes:
        return frames.pack(Frame(Kind.STEP, request, timestep, codec, payload))

    assert "at timestep 1, not 2" in refusal(edge, frame(1, 2))
    assert "request 9 has no session" in refusal(edge, frame(9, 1))
    assert f"{len(payload) - 1} bytes instead of {len(payload)}" in refusal(edge, frame(1, 1, payload=payload[1:]))
    assert "no codec has the number 77" in refusal(edge, frame(1, 1, codec=77))
    assert "no INPUT frame is expected" in refusal(edge, frames.pack(Frame(Kind.INPUT, 1, payload=bytes(1024))))

    events = cloud.wait_for_events(5)
    assert {event.event for event in events} == {"frame_refused"}
    reasons = [event.detail["reason"] for event in events]
    assert reasons == ["bad_timestep", "unknown_session", "bad_payload", "bad_payload", "bad_kind"]
    assert [event.detail["request"] for event in events] == [1, 9, 1, 1, 1]
    logits += [answer(cloud, edge, 1, timestep, codes[timestep]) for timestep in range(1, len(codes))]
    assert np.array_equal(logits, cloud.alone(codes))


def test_a_session_is_over_at_its_end_and_at_its_last_timestep(cloud, edge) -> None:
    codes = cloud.codes(0)
    answer(cloud, edge, 1, 0, codes[0])
    edge.send(frames.pack(Frame(Kind.END, 1)), soon())
    edge.send(step(1, 1, codes[1]), soon())  # it was on its way when the edge had heard enough: nobody waits for it
    for timestep, code in enumerate(codes):
        answer(cloud, edge, 2, timestep, code)
    assert "request 2 has no session" in refusal(edge, step(2, 1, codes[1]))
    cloud.work.finish()
    (dropped,) = (event for event in cloud.wait_for_events(1) if event.event == "frames_dropped")
    assert dropped.detail["frames"] == 1


def test_an_edge_that_never_ends_its_requests_loses_the_oldest(cloud, edge) -> None:
    codes = cloud.codes(0)
    for request in range(MAX_SESSIONS + 1):
        answer(cloud, edge, request, 0, codes[0])
    assert "request 0 has no session" in refusal(edge, step(0, 1, codes[1]))
    assert np.array_equal(answer(cloud, edge, 1, 1, codes[1]), cloud.alone(codes)[1])


def test_a_peer_with_another_key_is_turned_away_and_recorded(cloud, edge) -> None:
    stranger = new_keypair()
    with cloud.client(stranger) as client, pytest.raises(LinkError, match="refuses our CURVE key"):
        client.connect(soon())
    event = cloud.wait_for_events(1)[0]
    assert (event.event, event.detail["key"]) == ("peer_refused", stranger.public)
    codes = cloud.codes(0)
    assert np.array_equal(answer(cloud, edge, 1, 0, codes[0]), cloud.alone(codes)[0])


def test_a_closed_cloud_leaves_no_thread_and_no_listener(cloud, edge) -> None:
    answer(cloud, edge, 1, 0, cloud.codes(0)[0])
    cloud.work.finish()
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("data", "doorkeeper")]
    with cloud.client(cloud.edges[1]) as other, pytest.raises(LinkError, match="nothing listens"):
        other.connect(soon())
