"""What holds for every codec, and the two of fixed length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from testbed.link.codec import Codec, CodecError, Entropy, Float32, Packed, Sparse, codec_named

PLAIN = (Float32(), Packed(), Sparse())
shapes = array_shapes(min_dims=3, max_dims=3, max_side=9)
rates = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 1e-9]), st.floats(0, 1))


@st.composite
def codecs(draw, shape):
    if draw(st.booleans()):
        return Entropy(shape, draw(st.lists(rates, min_size=shape[0], max_size=shape[0])))
    return draw(st.sampled_from(PLAIN))


def codes_of(shape):
    dense = arrays(np.uint8, shape, elements=st.integers(0, 1))
    rare = arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.just(0))
    return st.one_of(dense, rare)


codes = shapes.flatmap(codes_of)
codecs_and_codes = shapes.flatmap(lambda shape: st.tuples(codecs(shape), codes_of(shape)))
codecs_and_shapes = shapes.flatmap(lambda shape: st.tuples(codecs(shape), st.just(shape)))


@given(codecs_and_codes)
def test_a_code_comes_back_as_it_went(pair):
    codec, code = pair
    payload = codec.encode(code)
    assert len(payload) == codec.payload_bytes(code.shape) or codec.payload_bytes(code.shape) is None
    decoded = codec.decode(memoryview(payload), code.shape)
    assert decoded.dtype == np.uint8
    assert decoded.shape == code.shape
    assert np.array_equal(decoded, code)


@given(codes, st.data())
def test_a_code_that_is_not_contiguous_is_written_in_c_order(code, data):
    turned = code.transpose(2, 0, 1)
    codec: Codec = data.draw(codecs(turned.shape))
    assert codec.encode(turned) == codec.encode(np.ascontiguousarray(turned))
    assert np.array_equal(codec.decode(codec.encode(turned), turned.shape), turned)


@given(codecs_and_codes)
def test_no_payload_is_longer_than_four_bytes_an_element_which_the_cloud_takes(pair):
    codec, code = pair
    assert len(codec.encode(code)) <= 4 * code.size


@given(codecs_and_shapes, st.one_of(st.binary(max_size=12), st.binary(max_size=200)))
def test_any_bytes_are_refused_or_are_the_one_payload_of_their_code(pair, payload):
    codec, shape = pair
    try:
        code = codec.decode(payload, shape)
    except CodecError:
        return
    assert code.shape == shape
    assert code.dtype == np.uint8
    assert set(np.unique(code)) <= {0, 1}
    assert codec.encode(code) == payload


@given(codecs_and_codes, st.data())
def test_a_flipped_bit_is_refused_or_changes_the_code(pair, data):
    codec, code = pair
    payload = bytearray(codec.encode(code))
    if not payload:
        return
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    try:
        decoded = codec.decode(bytes(payload), code.shape)
    except CodecError:
        return
    assert not np.array_equal(decoded, code)


@given(codecs_and_codes, st.binary(min_size=1, max_size=9), st.data())
def test_a_payload_cut_short_or_with_bytes_behind_it_never_gives_the_same_code(pair, extra, data):
    codec, code = pair
    payload = codec.encode(code)
    cut = payload[: data.draw(st.integers(0, max(len(payload) - 1, 0)))]
    for changed in {payload + extra, cut} - {payload}:
        try:
            decoded = codec.decode(changed, code.shape)
        except CodecError:
            continue
        # Only entropy's length depends on every spike; the frame's length field guards it on the wire.
        assert codec.name == "entropy" or changed == b""
        assert not np.array_equal(decoded, code)


@given(codecs_and_codes, st.integers(1, 40))
def test_zeros_behind_a_payload_are_refused(pair, zeros):
    codec, code = pair
    with pytest.raises(CodecError):
        codec.decode(codec.encode(code) + bytes(zeros), code.shape)


@pytest.mark.parametrize("codec", PLAIN, ids=lambda codec: codec.name)
def test_a_shape_beyond_all_memory_is_only_a_wrong_payload(codec: Codec):
    with pytest.raises(CodecError):
        codec.decode(b"\1" * 8, (1 << 40, 1 << 20, 1 << 20))


def test_packed_puts_the_first_element_in_the_highest_bit():
    code = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1], np.uint8).reshape(1, 1, 9)
    assert codec_named("packed").encode(code) == bytes([0b1000_0010, 0b1000_0000])


def test_packed_refuses_padding_that_is_not_zero():
    with pytest.raises(CodecError, match="padding"):
        codec_named("packed").decode(bytes([0, 1]), (1, 1, 9))


def test_float32_is_what_numpy_reads_as_little_endian_floats():
    payload = codec_named("float32").encode(np.array([[[0, 1, 1]]], np.uint8))
    assert np.frombuffer(payload, "<f4").tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("value", [-0.0, 0.5, 2.0, np.nan, np.inf, 1e-45])
def test_float32_refuses_values_that_are_no_spikes(value: float):
    payload = np.array([0, value, 1], "<f4").tobytes()
    with pytest.raises(CodecError, match="neither"):
        codec_named("float32").decode(payload, (1, 1, 3))


@pytest.mark.parametrize("name", ["float32", "packed"])
def test_another_length_is_named_with_the_one_expected(name: str):
    with pytest.raises(CodecError, match=r"3 bytes instead of \d+ for a code \[2, 4, 4\]"):
        codec_named(name).decode(b"\0" * 3, (2, 4, 4))
