from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from testbed.link import frames
from testbed.link.frames import Frame
from testbed.link.kinds import FrameError, Kind

bytes_u8 = st.integers(0, 255)
some_frames = st.builds(
    Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), bytes_u8, bytes_u8, st.binary(max_size=64)
)
GOOD = frames.pack(Frame(Kind.STEP, 7, 3, 2, b"spikes"))


def refusal(data: bytes, max_payload: int = 64) -> str:
    with pytest.raises(FrameError) as caught:
        frames.unpack(data, max_payload)
    return caught.value.reason


@given(some_frames)
def test_a_frame_comes_back_as_it_went(frame: Frame):
    data = frames.pack(frame)
    assert len(data) == 16 + len(frame.payload)
    assert frames.unpack(data, 64) == frame
    assert frames.unpack(memoryview(data), 64) == frame


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_are_the_one_form_of_their_frame(data: bytes):
    try:
        frame = frames.unpack(data, 64)
    except FrameError:
        return
    assert frames.pack(frame) == data


@given(some_frames, st.data())
def test_a_flipped_header_bit_is_refused_or_seen(frame: Frame, data):
    packed = bytearray(frames.pack(frame))
    bit = data.draw(st.integers(0, 8 * frames.HEADER_BYTES - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(FrameError):
        assert frames.unpack(bytes(packed), 64) != frame


coded = st.lists(st.tuples(bytes_u8, st.binary(max_size=9)), min_size=1, max_size=5)


@given(coded)
def test_the_codes_of_several_timesteps_come_back_as_they_went(codes: list[tuple[int, bytes]]):
    payload = frames.pack_steps(codes)
    assert len(payload) == sum(frames.ENTRY_BYTES + len(code) for _, code in codes)
    assert frames.codes_in(Frame(Kind.STEPS, 1, 0, len(codes), payload)) == codes


@given(st.binary(max_size=40), st.integers(0, 6))
def test_any_bytes_are_no_codes_or_are_the_one_form_of_theirs(payload: bytes, count: int):
    try:
        codes = frames.codes_in(Frame(Kind.STEPS, 1, 0, count, payload))
    except FrameError:
        return
    assert len(codes) == count
    assert frames.pack_steps([(codec, bytes(code)) for codec, code in codes]) == payload


def test_the_header_has_its_fields_where_the_protocol_says():
    header = bytes([2, 1, 7, 0, 0, 0, 3, 2, 0, 0, 6, 0, 0, 0])
    assert b"NX" + header + b"spikes" == GOOD


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, ord("X"), "bad_magic"),
        (2, 1, "bad_version"),
        (3, 0, "bad_kind"),
        (3, 9, "bad_kind"),
        (10, 1, "bad_reserved"),
        (11, 1, "bad_reserved"),
        (12, 5, "bad_length"),
        (15, 255, "bad_length"),
    ],
)
def test_each_wrong_field_has_its_own_reason(at: int, value: int, reason: str):
    assert refusal(GOOD[:at] + bytes([value]) + GOOD[at + 1 :]) == reason


def test_cut_and_padded_and_oversized_frames_are_refused():
    assert refusal(b"") == "bad_length"
    assert refusal(GOOD[:15]) == "bad_length"
    assert refusal(GOOD[:-1]) == "bad_length"
    assert refusal(GOOD + b"\0") == "bad_length"
    assert refusal(GOOD, max_payload=5) == "too_large"


@pytest.mark.parametrize("frame", [Frame(Kind.STEP, 2**32), Frame(Kind.STEP, -1), Frame(Kind.STEP, 0, 256)])
def test_a_field_that_does_not_fit_is_not_sent(frame: Frame):
    with pytest.raises(FrameError, match="does not fit"):
        frames.pack(frame)


@given(
    st.integers(0, 2**64 - 1),
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-(2.0**99), 2.0**99, width=32)),
)
def test_a_result_comes_back_as_it_went(duration_ns: int, logits):
    payload = frames.pack_result(duration_ns, logits)
    assert len(payload) == 8 + 4 * logits.size
    duration, received = frames.unpack_result(memoryview(payload), logits.shape[1])
    assert duration == duration_ns
    assert received.dtype == np.float32
    assert np.array_equal(received, logits)


def test_one_timestep_of_logits_may_go_without_its_axis():
    _, logits = frames.unpack_result(frames.pack_result(1, np.array([1.5, -2.0])), 2)
    assert logits.tolist() == [[1.5, -2.0]]


@given(st.binary(max_size=60), st.integers(1, 5))
def test_any_bytes_are_a_finite_result_or_refused(payload: bytes, classes: int):
    try:
        _, logits = frames.unpack_result(payload, classes)
    except FrameError:
        return
    assert logits.shape == (len(payload[8:]) // 4 // classes, classes)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(value: float):
    with pytest.raises(FrameError) as caught:
        frames.unpack_result(frames.pack_result(1, np.array([0.0, value])), 2)
    assert caught.value.reason == "bad_logits"


def test_a_result_without_a_whole_timestep_is_refused():
    for payload in (b"", b"\0" * 8, b"\0" * 12, frames.pack_result(1, np.zeros(3))):
        with pytest.raises(FrameError) as caught:
            frames.unpack_result(payload, 2)
        assert caught.value.reason == "bad_length"


@given(st.text(max_size=300))
def test_a_reason_arrives_cut_to_size_and_printable(reason: str):
    payload = frames.pack_reason(reason)
    assert len(payload) <= frames.MAX_REASON_BYTES
    assert frames.unpack_reason(payload).isprintable()
    if reason.isprintable() and len(reason.encode()) <= frames.MAX_REASON_BYTES:
        assert frames.unpack_reason(payload) == reason


def test_an_escape_sequence_from_a_peer_does_not_reach_the_terminal():
    assert frames.unpack_reason(b"\x1b[2J\xffgone" + b"x" * 5000).startswith("\ufffd[2J\ufffdgone")
