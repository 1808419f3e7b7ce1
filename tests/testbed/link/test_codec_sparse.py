from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.link.codec import CodecError, Sparse

SPARSE = Sparse()


def code_with(positions: list[int], elements: int) -> np.ndarray:
    code = np.zeros((1, 1, elements), np.uint8)
    code[0, 0, positions] = 1
    return code


def test_no_spikes_take_no_bytes():
    assert SPARSE.encode(code_with([], 1000)) == b""
    assert not SPARSE.decode(b"", (1, 1, 1000)).any()


def test_the_layout_is_count_then_low_bits_then_high_parts_in_unary():
    # n = 20, k = 3: the count in 5 bits; r = floor(log2(20 / 3)) = 2 low bits each; highs 0, 1, 4.
    payload = SPARSE.encode(code_with([1, 6, 19], 20))
    bits = "00011" + "01" + "10" + "11" + "1" + "01" + "0001"
    assert payload == int(bits.ljust(24, "0"), 2).to_bytes(3, "big")


@given(st.integers(1, 5000), st.data())
def test_a_spike_costs_at_most_two_bits_more_than_the_logarithm_of_its_share(elements, data):
    spikes = data.draw(st.integers(1, elements))
    positions = np.random.default_rng(spikes).choice(elements, spikes, replace=False)
    bits = 8 * len(SPARSE.encode(code_with(sorted(positions), elements)))
    # The high parts take n / 2^r < 2k zeros and k ones, so log2(n/k) + 3 bits bound it for any positions.
    assert bits < elements.bit_length() + spikes * (math.log2(elements / spikes) + 3) + 8


def test_the_last_element_of_a_large_code_is_found():
    code = code_with([0, 65_534, 65_535], 65_536)
    payload = SPARSE.encode(code)
    assert len(payload) <= 10
    assert np.array_equal(SPARSE.decode(payload, code.shape), code)


def packed(bits: str) -> bytes:
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ("0", "0 spikes announced"),
        ("10101" + "1" * 21, "21 spikes announced for 20"),
        ("00011", "too few for 3 spikes"),
        ("00011" + "011011" + "10100000", "2 spikes instead of the 3"),
        ("00011" + "011011" + "101000011", "4 spikes instead of the 3"),
        ("00011" + "011011" + "1010001" + "0" * 8, "bytes follow"),
        ("00011" + "011011" + "10100001", "outside"),  # the high part 5 makes 23 of 20
        ("00011" + "010111" + "1100001", "ascend"),  # 1 and 1
        ("00011" + "100111" + "1100001", "ascend"),  # 2 and 1
        ("00011" + "0" * 60, "no code"),
    ],
)
def test_what_no_encoder_writes_is_refused(bits: str, message: str):
    with pytest.raises(CodecError, match=message):
        SPARSE.decode(packed(bits), (1, 4, 5))
