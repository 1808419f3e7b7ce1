from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from testbed.errors import LinkError
from testbed.link.codec import CodecBook, CodecError, codec_named, codec_names

SHAPE = (4, 4, 4)
RATES = [[0.01, 0.02, 0.1, 0.0], [0.4, 0.2, 0.1, 0.05], [0.9, 0.02, 0.01, 0.005]]
BOOK = CodecBook(SHAPE, RATES)

timesteps = st.integers(0, len(RATES) - 1)
codes = st.one_of(
    arrays(np.uint8, SHAPE, elements=st.integers(0, 1)),
    arrays(np.uint8, SHAPE, elements=st.integers(0, 1), fill=st.just(0)),
)


@given(st.sampled_from(codec_names()), codes, timesteps)
def test_the_cloud_needs_no_more_than_the_number_the_bytes_and_the_timestep(name, code, timestep):
    wire_id, payload = BOOK.encoder(name)(code, timestep)
    assert np.array_equal(BOOK.decode(wire_id, payload, timestep), code)


@given(codes, timesteps)
def test_auto_is_the_shortest_for_this_code_and_adds_nothing_to_it(code, timestep):
    every = [BOOK.encoder(name)(code, timestep) for name in ("packed", "sparse", "entropy")]
    chosen = BOOK.encoder("auto")(code, timestep)
    assert chosen in every
    assert len(chosen[1]) == min(len(payload) for _, payload in every)


def test_auto_takes_each_codec_where_that_is_the_shortest():
    auto = BOOK.encoder("auto")
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 2, SHAPE, np.uint8)
    surprise = np.zeros(SHAPE, np.uint8)
    surprise[3, 3, 3] = 1  # in a channel that never spiked
    likely = (rng.random(SHAPE) < np.array(RATES[2])[:, None, None]).astype(np.uint8)
    names = {codec_named(name).wire_id: name for name in ("float32", "packed", "sparse")} | {4: "entropy"}
    assert [names[auto(code, t)[0]] for code, t in ((dense, 0), (surprise, 2), (likely, 2))] == [
        "packed",
        "sparse",
        "entropy",
    ]


def test_every_timestep_has_rates_of_its_own():
    code = np.zeros(SHAPE, np.uint8)
    code[0] = 1  # ever more likely
    payloads = [BOOK.encoder("entropy")(code, timestep)[1] for timestep in range(3)]
    assert len(set(payloads)) == 3
    assert len(payloads[0]) > len(payloads[2])


@given(st.integers(0, 255), st.binary(max_size=300), timesteps)
def test_whatever_arrives_is_a_code_or_a_codec_error(wire_id, payload, timestep):
    with contextlib.suppress(CodecError):
        assert BOOK.decode(wire_id, payload, timestep).shape == SHAPE


@pytest.mark.parametrize("name", ["entropy", "auto"])
def test_without_rates_there_is_one_clear_error_when_the_codec_is_chosen(name: str):
    with pytest.raises(LinkError, match=rf"codec {name} needs the model's spike rates.*no code_rates"):
        CodecBook(SHAPE, None).encoder(name)


def test_without_rates_the_others_work_and_an_entropy_payload_is_refused():
    book = CodecBook(SHAPE, None)
    code = np.ones(SHAPE, np.uint8)
    for name in ("float32", "packed", "sparse"):
        assert np.array_equal(book.decode(*book.encoder(name)(code, 0), 0), code)
    with pytest.raises(CodecError, match="no code_rates"):
        book.decode(4, b"", 0)


def test_a_timestep_beyond_the_rates_is_refused():
    with pytest.raises(CodecError, match="rates for 3 timesteps, not for 4"):
        BOOK.decode(4, b"", 3)


def test_an_unknown_name_an_unknown_number_and_a_model_without_a_code_are_refused():
    with pytest.raises(LinkError, match="'gzip'; there is float32, packed, sparse, entropy, auto"):
        BOOK.encoder("gzip")
    with pytest.raises(LinkError, match="'entropy' works without a model"):
        codec_named("entropy")
    for number in (0, 5, 77):
        with pytest.raises(LinkError, match=f"no codec has the number {number}"):
            BOOK.decode(number, b"", 0)
    with pytest.raises(LinkError, match="not split"):
        CodecBook(None, None)


def test_rates_of_another_code_are_refused():
    with pytest.raises(CodecError, match=r"one in .* for each channel"):
        CodecBook(SHAPE, [[0.1, 0.2]])
