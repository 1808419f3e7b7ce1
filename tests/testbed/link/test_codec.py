from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from testbed.errors import LinkError
from testbed.link.codec import CODECS, Codec, CodecError, codec_by_id, codec_named

codecs = st.sampled_from(list(CODECS.values()))
shapes = array_shapes(min_dims=3, max_dims=3, max_side=9)
codes = shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1)))


@given(codecs, codes)
def test_a_code_comes_back_as_it_went(codec: Codec, code):
    payload = codec.encode(code)
    assert len(payload) == codec.payload_bytes(code.shape)
    decoded = codec.decode(memoryview(payload), code.shape)
    assert decoded.dtype == np.uint8
    assert decoded.shape == code.shape
    assert np.array_equal(decoded, code)


@given(codecs, codes)
def test_a_code_that_is_not_contiguous_is_written_in_c_order(codec: Codec, code):
    turned = code.transpose(2, 0, 1)
    assert np.array_equal(codec.decode(codec.encode(turned), turned.shape), turned)


@given(codecs, shapes, st.binary(max_size=200))
def test_any_bytes_are_refused_or_are_the_one_payload_of_their_code(codec: Codec, shape, payload):
    try:
        code = codec.decode(payload, shape)
    except CodecError:
        return
    assert codec.encode(code) == payload


@given(codecs, codes, st.data())
def test_a_flipped_bit_is_refused_or_changes_the_code(codec: Codec, code, data):
    payload = bytearray(codec.encode(code))
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    try:
        decoded = codec.decode(bytes(payload), code.shape)
    except CodecError:
        return
    assert not np.array_equal(decoded, code)


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


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_a_shape_beyond_all_memory_is_only_a_wrong_size(codec: Codec):
    with pytest.raises(CodecError, match="bytes instead of"):
        codec.decode(b"\0" * 8, (1 << 40, 1 << 20, 1 << 20))


def test_codecs_are_found_by_name_and_by_number_and_zero_is_none_of_them():
    for name, codec in CODECS.items():
        assert codec_named(name) is codec_by_id(codec.wire_id) is codec
    with pytest.raises(LinkError, match="'gzip'; there is float32, packed"):
        codec_named("gzip")
    with pytest.raises(LinkError, match="number 0"):
        codec_by_id(0)
