"""Timesteps in flight and in chunks: answers are those of stop-and-wait, and what was done in vain is known.

Both halves of co-inference and the data plane are the real ones, in this process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.tempo import RealTempo
from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.client import LinkLost, LinkTimeout
from testbed.link.codec import codec_names
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.link.messages import ExitConfig
from testbed.link.uplink import Uplink
from testbed.modes.co_inference import Decoder, Encoder
from testbed.modes.request import Request
from testbed.record.exits import Accumulate, policy_names
from tests.fakes.relay import Relay
from tests.made import split
from tests.made.split import SAMPLES, Kit, T

RULES: list[ExitConfig | None] = [None] + [
    ExitConfig(policy=policy, accumulate=accumulate, thresholds=[alpha] * (T - 1))
    for policy, accumulate, alpha in product(policy_names(), get_args(Accumulate), (0.15, 0.5, 0.9))
]
AT_ONCE = ExitConfig(policy="max_softmax", accumulate="mean", thresholds=[0.0] * (T - 1))


def answer_of(request: Request) -> tuple[int, bytes]:
    """The exit, and the logits that count bit for bit; prediction and confidence follow from these."""
    return len(request.steps), b"".join(step.logits.tobytes() for step in request.steps)


@pytest.mark.parametrize("codec", codec_names())
def test_every_window_has_the_answers_of_stop_and_wait_bit_for_bit_under_every_exit_policy(codec: str) -> None:
    kit, exits = Kit(codec), set()
    with split.lab() as lab:
        for sample, rule in product(range(len(SAMPLES)), RULES):
            alone = answer_of(lab.answer(kit, sample, 1, rule))
            exits.add(alone[0])
            for window in range(2, T + 1):
                assert answer_of(lab.answer(kit, sample, window, rule)) == alone
        lab.gather()
    assert exits == set(range(1, T + 1))
    assert not lab.events


def divisions(timesteps: int) -> Iterator[list[int]]:
    """Every way to divide so many timesteps into chunks."""
    for first in range(1, timesteps + 1):
        for rest in divisions(timesteps - first) if first < timesteps else [[]]:
            yield [first, *rest]


@pytest.mark.parametrize("chunks", list(divisions(T)), ids=str)
def test_every_division_into_chunks_has_the_answers_of_single_timesteps_in_every_window_and_codec(chunks) -> None:
    cloud = Decoder(Kit("packed", chunks))
    with split.lab() as single, split.lab(cloud) as lab:
        for codec, sample, rule in product(codec_names(), range(0, len(SAMPLES), 2), RULES[::2]):
            alone = answer_of(single.answer(Kit(codec), sample, 1, rule))
            for window in (1, T):
                request = lab.answer(Kit(codec, chunks), sample, window, rule)
                assert answer_of(request) == alone
                assert len(request.steps) + len(request.in_vain) in np.cumsum(chunks)
        lab.gather()
    assert not lab.events


def test_a_chunk_is_one_message_whose_timesteps_share_its_times_and_bytes() -> None:
    kit = Kit("packed", [1, 3])
    with split.lab(Decoder(Kit("packed", [1, 3]))) as lab:
        request = lab.answer(kit, 0, 1)
        early = lab.answer(kit, 0, 1, ExitConfig(policy="max_softmax", accumulate="mean", thresholds=[1.0, 0.0, 1.0]))
    assert (request.frames_up, request.frames_down) == (2, 2)
    first, *chunk = request.steps
    assert (first.payload_bytes, [step.payload_bytes for step in chunk]) == (3, [3] * 3)
    assert request.up_bytes == sum(step.payload_bytes for step in request.steps)
    assert len({(step.t_send_ns, step.t_reply_ns, step.cloud_ns, step.edge_ns) for step in chunk}) == 1
    assert sum(step.edge_ns for step in request.steps) == pytest.approx(request.edge_ns + request.encode_ns)
    assert sum(step.cloud_ns for step in request.steps) == pytest.approx(request.cloud_ns)
    # The first confident timestep of a chunk is the exit; the rest of the chunk was in vain, and the cloud has no more.
    assert (len(early.steps), len(early.in_vain), early.complete, early.over) == (2, 2, False, True)
    assert all(step.cloud_ns > 0 and step.edge_ns > 0 and step.down_bytes == 12 for step in early.in_vain)


def test_a_chunk_longer_than_the_window_is_sent_once_nothing_is_under_way() -> None:
    gate, kit = Gate([1, 3]), Kit("packed", [1, 3])
    computed: list[int] = []
    kit.after = lambda calls: computed.append(len(gate.asked))
    with split.lab(gate) as lab:
        lab.when_waiting(gate.open.set)
        assert lab.answer(kit, 0, 2).complete
    assert computed == [0, 1]


BROKEN = {
    "cut in its table": (3, b"\2\3\0"),
    "without a code": (0, b""),
    "longer than its table says": (1, frames.pack_steps([(2, b"abc")]) + b"d"),
    "shorter than its table says": (2, frames.pack_steps([(2, b"abc"), (2, b"abc")])[:-1]),
    "of more timesteps than are left": (3, frames.pack_steps([(2, bytes(3))] * 3)),
    "of a number that no graph takes": (2, frames.pack_steps([(2, bytes(3))] * 2)),
    "of a codec that is none": (3, frames.pack_steps([(99, bytes(3))] * 3)),
    "with a payload that is no code": (3, frames.pack_steps([(2, bytes(4))] * 3)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_chunk_that_is_not_what_it_says_is_refused(what: str) -> None:
    half = Decoder(Kit("packed", [1, 3]))
    count, payload = BROKEN[what]
    begun = 2 if "left" in what else 0
    for timestep in range(begun):
        half.answer(b"peer", Frame(Kind.STEP, 1, timestep, 2, bytes(3)))
    with pytest.raises(LinkError):
        half.answer(b"peer", Frame(Kind.STEPS, 1, begun, count, payload))
    good = frames.pack_steps([(2, bytes(3))] * 3)
    assert half.answer(b"peer", Frame(Kind.STEPS, 2, 0, 3, good)).shape == (3, split.CLASSES)


class Gate:
    """A cloud's half that answers nothing before it is opened."""

    def __init__(self, chunks: list[int] | None = None) -> None:
        self.open = threading.Event()
        self.asked: list[tuple[int, int]] = []
        self._half = Decoder(Kit("packed", chunks))

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        assert self.open.wait(20)
        self.asked.append((frame.request, frame.timestep))
        return self._half.answer(peer, frame)

    def end(self, peer: bytes, request: int) -> None:
        self._half.end(peer, request)


@pytest.mark.parametrize("window", range(1, T + 1))
def test_an_edge_computes_and_sends_as_many_timesteps_ahead_as_its_window_has_and_no_more(window: int) -> None:
    gate, kit = Gate(), Kit("packed")
    ahead: list[int] = []

    def after(calls: int) -> None:
        ahead.append(calls - len(gate.asked))
        if calls == window:  # the last one that fits: had the edge waited before it, this would never be reached
            gate.open.set()

    kit.after = after
    with split.lab(gate) as lab:
        request = lab.answer(kit, 0, window)
    assert request.complete
    assert max(ahead) <= window
    assert max(ahead[:window]) == window
    assert (request.waits.beside_ns > 0) == (window > 1)


def test_after_an_exit_nothing_more_is_computed_and_what_was_sent_ahead_is_in_vain() -> None:
    gate, kit = Gate(), Kit("packed")
    with split.lab(gate) as lab:
        lab.when_sent(3, gate.open.set)
        request = lab.answer(kit, 0, 3, AT_ONCE)
        sent = [step.payload_bytes for step in (*request.steps, *request.in_vain)]
        lab.gather()
        late = lab.uplink.take_late()
    assert len(request.steps) == 1
    assert kit.computed == 3
    assert len(request.in_vain) == 2
    assert sent == [3, 3, 3]
    assert sum(step.edge_ns for step in request.in_vain) > 0
    # What the cloud did all the same came after the request, and says how long it took.
    assert {one.request for one in late} <= {request.number}
    assert all(one.cloud_ns > 0 for one in late)
    assert len(gate.asked) == 1 + len(late)
    assert not lab.events


def test_an_answer_that_is_there_before_a_code_is_sent_spares_it() -> None:
    gate, kit = Gate(), Kit("packed")
    with split.lab(gate) as lab:
        request = lab.request(0, T, AT_ONCE)

        socket = lab.uplink._client._socket  # noqa: SLF001

        def after(calls: int) -> None:
            if calls == 2:
                gate.open.set()
                assert socket.poll(20_000)

        kit.after = after
        Encoder(kit).answer(request)
        request.close()
    assert (len(request.steps), request.frames_up) == (1, 1)
    assert [step.payload_bytes for step in request.in_vain] == [None]
    assert request.in_vain[0].edge_ns > 0


def test_late_answers_are_never_the_next_requests_whatever_the_window() -> None:
    gate, kit = Gate(), Kit("packed")
    gate.open.set()
    with split.lab(gate) as lab:
        alone = [answer_of(lab.answer(kit, sample, 1)) for sample in range(len(SAMPLES))]
        for sample in range(len(SAMPLES)):
            gate.open.clear()
            lab.when_sent(T, gate.open.set)
            lab.answer(kit, sample, T, AT_ONCE)  # three answers are still to come
            other = (sample + 1) % len(SAMPLES)
            assert answer_of(lab.answer(kit, other, T)) == alone[other]
        assert not lab.events


def test_an_answer_to_a_request_that_was_given_up_is_not_the_next_ones_of_the_same_timestep() -> None:
    gate, kit = Gate(), Kit("packed")
    with split.lab(gate) as lab:
        given_up = lab.request(1, T, deadline_ms=50)
        with pytest.raises(LinkTimeout):
            Encoder(kit).answer(given_up)
        given_up.close()
        assert len(given_up.in_vain) == T
        gate.open.set()
        late = answer_of(lab.answer(kit, 0, T))
        assert late == answer_of(lab.answer(kit, 0, 1))
        assert [one.request for one in lab.uplink.take_late()] == [given_up.number] * T


def test_the_time_that_something_was_under_way_divides_into_waiting_and_work_beside() -> None:
    gate, kit = Gate(), Kit("packed")
    with split.lab(gate) as lab:
        lab.when_sent(T, gate.open.set)
        request = lab.answer(kit, 1, T)
        alone = lab.answer(kit, 1, 1)
    steps = request.steps
    assert steps[-1].t_reply_ns - steps[0].t_send_ns == request.waits.wait_ns + request.waits.beside_ns
    assert [step.t_reply_ns for step in steps] == sorted(step.t_reply_ns for step in steps)
    for step in steps:
        assert step.t_compute_ns < step.t_computed_ns <= step.t_encode_ns < step.t_encoded_ns <= step.t_send_ns
        assert step.t_send_ns < step.t_sent_ns <= step.t_reply_ns
    assert request.waits.beside_ns == sum(step.t_computed_ns - step.t_compute_ns for step in steps[1:]) + sum(
        step.t_encoded_ns - step.t_encode_ns for step in steps[1:]
    )
    assert alone.waits.beside_ns == 0
    assert alone.waits.wait_ns == sum(step.t_reply_ns - step.t_send_ns for step in alone.steps)


class Refusing(Gate):
    """Refuses the second timestep."""

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        if frame.timestep == 1:
            raise LinkError("of no reason")
        return super().answer(peer, frame)


def test_a_refusal_ends_a_request_in_its_turn_and_the_next_one_is_answered() -> None:
    half, kit = Refusing(), Kit("packed")
    half.open.set()
    with split.lab(half) as lab:
        request = lab.request(0, T)
        with pytest.raises(LinkError, match="the cloud refused timestep 1: of no reason"):
            Encoder(kit).answer(request)
        request.close()
        lab.uplink.end(request.number)
        assert len(request.steps) == 1
        assert len(lab.answer(kit, 0, T, AT_ONCE).steps) == 1


def test_what_is_sent_after_a_break_does_not_go_to_a_new_connection_while_answers_are_awaited() -> None:
    gate, frame = Gate(), b"whatever"
    with split.lab(gate) as lab:
        relay = Relay(lab.port)
        link = Uplink(relay.endpoint, None, None, Deadline(20_000))
        try:
            relay.cut()
            relay.wait_for(connections=2)
            with pytest.raises(LinkLost, match="while an answer was waited for"):
                link.send(frame, Deadline(20_000), awaiting=True)
            link.send(frame, Deadline(20_000), awaiting=True)  # the loss is told once
            relay.cut()
            relay.wait_for(connections=3)
            link.send(frame, Deadline(20_000))
        finally:
            gate.open.set()
            link.close()
            relay.close()


def test_what_has_come_by_the_time_of_an_emulated_edge_is_seen_although_its_host_is_ahead() -> None:
    """The host is done before the answer is there, and the edge it emulates is done after it."""
    logits = np.ones((1, split.CLASSES), np.float32)

    class Ahead(RealTempo):
        there = False

        def settle(self) -> int:
            self.there = True
            return super().settle()

    class Link:
        def send(self, data: bytes, deadline: Deadline, *, awaiting: bool = False) -> None:
            tempo.there = False

        def answer_there(self, about: tuple[int, int]) -> Frame | None:
            payload = frames.pack_result(1, logits)
            return Frame(Kind.RESULT, *about, 0, payload) if tempo.there else None

    tempo = Ahead()
    request = Request(1, SAMPLES[0], split.CARD, None, tempo, Link(), Deadline(1000), window=T)  # type: ignore[arg-type]
    with request.computing():
        pass
    request.send(Kind.STEP, b"", timestep=0)
    request.look()
    assert len(request.steps) == 1
