"""The range coder: how close to the entropy it comes, and that its bytes are the same everywhere."""

from __future__ import annotations

import hashlib
import math
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from testbed.link.codec import CodecError, Entropy, rangecoder
from testbed.link.codec.entropy import BLOCK, block_table

sides = st.sampled_from([(4, 4), (7, 5), (8, 8), (16, 16)])
shapes = st.tuples(st.integers(4, 64), sides).map(lambda pair: (pair[0], *pair[1]))


def drawn(shape: tuple[int, ...], rates: np.ndarray, seed: int) -> np.ndarray:
    """A code of independent spikes of these rates."""
    return (np.random.default_rng(seed).random(shape) < rates[:, None, None]).astype(np.uint8)


def cross_entropy_bits(code: np.ndarray, rates: np.ndarray) -> float:
    """Sum over elements of -log2 of their probability; 0 · log2(0) is 0."""
    ones = code.reshape(len(code), -1).sum(axis=1)
    zeros = code[0].size - ones
    return -sum(
        count * math.log2(p)
        for counts, probabilities in ((ones, rates), (zeros, 1 - rates))
        for count, p in zip(counts, probabilities, strict=True)
        if count
    )


@given(shapes, st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.integers(0, 2**32 - 1))
@example((4, 4, 4), 0.001, 0.001, 0)
@example((64, 16, 16), 0.001, 0.001, 0)
@example((64, 16, 16), 0.5, 0.5, 0)
def test_a_code_drawn_from_the_rates_takes_its_zero_order_entropy(shape, lowest, highest, seed):
    rates = np.linspace(lowest, highest, shape[0])
    code = drawn(shape, rates, seed)
    payload = Entropy(shape, rates.tolist()).encode(code)
    bits = cross_entropy_bits(code, rates)
    assert len(payload) <= 1.05 * bits / 8 + 4  # what was asked for
    assert len(payload) <= 1.002 * bits / 8 + 1.1  # what is reached: rounded up to a byte, and rates on a grid


@given(shapes, st.floats(0.001, 0.5), st.integers(0, 2**32 - 1))
def test_with_the_rates_of_the_code_itself_it_takes_the_empirical_entropy(shape, rate, seed):
    code = drawn(shape, np.full(shape[0], rate), seed)
    rates = code.mean(axis=(1, 2))
    payload = Entropy(shape, rates.tolist()).encode(code)
    # A silent channel's rate is kept off 0, which costs 2^-16 / ln 2 bits an element.
    assert len(payload) <= 1.002 * cross_entropy_bits(code, rates) / 8 + 1.1 + code.size * 2**-16 / 4


def test_a_spike_where_there_never_was_one_costs_sixteen_bits():
    codec = Entropy((2, 8, 8), [0.0, 1.0])
    code = np.stack([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)])
    assert len(codec.encode(code)) <= 1
    code[0, 3, 3], code[1, 0, 0] = 1, 0
    assert len(codec.encode(code)) in (4, 5)
    # However improbable a code is, a block of 16 takes 32 bits at most.
    assert len(codec.encode(1 - code)) <= 33


def test_the_bytes_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for shape in ((3, 5, 7), (16, 4, 4), (64, 8, 8)):
        rates = [0.001 * (7 * channel % 500) for channel in range(shape[0])]
        scrambled = np.arange(math.prod(shape), dtype=np.uint64) * 2654435761 % 2**32 // 2**16 % 9
        digest.update(Entropy(shape, rates).encode((scrambled == 0).astype(np.uint8).reshape(shape)))
    assert digest.hexdigest() == "833d1d9f5603e0809387eea37b5d5a94625168064183d75d9bcc3e3b9d917422"


def test_rates_that_differ_by_less_than_the_grid_give_the_same_bytes():
    code = drawn((4, 8, 8), np.full(4, 0.2), 1)
    assert Entropy(code.shape, [0.2] * 4).encode(code) == Entropy(code.shape, [0.2 + 1e-7] * 4).encode(code)


@pytest.mark.skipif(sys.byteorder != "little", reason="constriction gives words in the machine's order")
@pytest.mark.parametrize("shape", [(4, 4, 4), (16, 8, 8), (64, 16, 16)])
def test_it_is_never_longer_than_what_constriction_writes(shape: tuple[int, ...]):
    constriction = pytest.importorskip("constriction", reason="has wheels for x86-64 alone")
    for seed in range(20):
        rates = np.random.default_rng(seed).uniform(0.001, 0.5, shape[0])
        code = drawn(shape, rates, seed)
        theirs = constriction.stream.queue.RangeEncoder()
        model = constriction.stream.model.Bernoulli(perfect=False)
        theirs.encode(code.ravel().astype(np.int32), model, np.repeat(rates, code[0].size))
        reference = theirs.get_compressed().tobytes().rstrip(b"\0")
        assert len(Entropy(shape, rates.tolist()).encode(code)) <= len(reference) + 1


@given(st.integers(1, 2**16 - 1), st.integers(1, BLOCK))
def test_the_weights_of_a_table_fill_it_and_none_is_lost(rate, size):
    table = block_table(rate, size)
    ends = [table.start[spikes] + math.comb(size, spikes) * table.weight[spikes] for spikes in range(size + 1)]
    assert [0, *ends] == [*table.start, 1 << rangecoder.PRECISION]
    assert min(table.weight) >= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2**32 - 3)), max_size=60))
def test_the_range_coder_gives_back_any_message_under_any_weights(message):
    """Symbols 0 to 3; the second number is the weight of the first, and the others share what is left unevenly."""
    alphabet, payload_of = [], []
    for symbol, weight in message:
        rest = 2**32 - weight
        weights = [weight, 1, 1, rest - 2] if rest > 2 else [2**32 - 3, 1, 1, 1]
        start = [0, weights[0], weights[0] + 1, weights[0] + 2]
        alphabet.append(rangecoder.Table(start, weights, [0, 1, 2, 3]))
        payload_of.append((start[symbol], weights[symbol]))
    payload = rangecoder.encode(payload_of)
    assert rangecoder.decode(payload, alphabet) == [symbol for symbol, _ in message]
    bits = sum(32 - math.log2(weight) for _, weight in payload_of)
    assert len(payload) <= bits / 8 * 1.0001 + 1


def test_a_carry_runs_through_words_that_are_full():
    half = rangecoder.Table([0, 2**31], [2**31, 2**31], [0, 1])
    third = rangecoder.Table([0, 1431655765, 2863311530], [1431655765, 1431655765, 1431655766], [0, 1, 2])
    for symbols in ([0] + [1] * 200, [1] * 200, [0, *[1] * 150, 0]):
        weights = [(half.start[s], half.weight[s]) for s in symbols]
        tail = [(third.start[2], third.weight[2])] * 90
        payload = rangecoder.encode([*weights, *tail])
        assert rangecoder.decode(payload, [half] * len(symbols) + [third] * 90) == symbols + [2] * 90


def test_a_longer_number_in_the_same_interval_is_refused():
    table = rangecoder.Table([0, 3 * 2**32 // 10], [3 * 2**32 // 10, 2**32 - 3 * 2**32 // 10], [0, 1])
    assert rangecoder.encode([(table.start[1], table.weight[1])]) == b"\x4d"
    for payload in (b"\x4c\xcd", b"\x4d\x00", b"\x4e", b"\x4d" + bytes(40) + b"\x01"):
        with pytest.raises(CodecError, match="shortest"):
            rangecoder.decode(payload, [table])


def test_a_number_in_the_gap_that_rounding_leaves_is_refused():
    table = rangecoder.Table([0, 12345], [12345, 2**32 - 12345], [0, 1])
    with pytest.raises(CodecError, match="between two codes"):
        rangecoder.decode(b"\xff" * 64, [table] * 100)
    with pytest.raises(CodecError, match="between two codes"):
        Entropy((20, 3, 3), [0.3] * 20).decode(b"\xff" * 64, (20, 3, 3))


@pytest.mark.parametrize(
    ("shape", "rates"), [((2, 4, 4), [0.1]), ((1, 4, 4), [1.5]), ((1, 4, 4), [-0.1]), ((1, 4, 4), [math.nan])]
)
def test_rates_that_do_not_fit_are_refused(shape, rates):
    with pytest.raises(CodecError, match=r"one in .* for each channel"):
        Entropy(shape, rates)


def test_a_code_of_another_shape_is_refused():
    with pytest.raises(CodecError, match="belong to codes"):
        Entropy((2, 4, 4), [0.1, 0.2]).decode(b"", (2, 4, 5))


def test_of_all_payloads_up_to_two_bytes_no_two_give_the_same_code():
    codec = Entropy((2, 3, 3), [0.1, 0.4])
    seen: dict[bytes, bytes] = {}
    for payload in (number.to_bytes(size, "big") for size in range(3) for number in range(256**size)):
        try:
            code = codec.decode(payload, (2, 3, 3))
        except CodecError:
            continue
        assert seen.setdefault(code.tobytes(), payload) == payload
    assert len(seen) > 10_000
