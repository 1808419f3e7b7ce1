"""Where the spikes are: an Elias-Fano list of their positions, good where spikes are rare."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from testbed.link.codec.protocol import CodecError


class Sparse:
    """The positions of the k spikes among n elements in C order, ascending; no bytes at all for no spikes.

    One string of bits, most significant first, padded with zeros to whole bytes: k in `n.bit_length()` bits;
    the low r = floor(log2(n / k)) bits of each position; then the high parts in unary, where a one stands for
    a spike and a zero for a step of 2^r, up to the last one. About log2(n / k) + 2 bits a spike
    (P. Elias, J. ACM 21(2), 1974; the layout of S. Vigna, "Quasi-succinct indices", WSDM 2013), and unlike Rice
    codes nothing in it has to be read bit after bit.
    """

    name = "sparse"
    wire_id = 3

    def encode(self, code: NDArray[np.uint8]) -> bytes:
        """Payload of a code."""
        positions = np.flatnonzero(code)
        spikes = len(positions)
        if not spikes:
            return b""
        count_bits, low_bits = _layout(code.size, spikes)
        ones = (positions >> low_bits) + np.arange(spikes)
        begin = count_bits + spikes * low_bits
        bits = np.zeros(begin + int(ones[-1]) + 1, np.uint8)
        bits[:count_bits] = _bits_of(np.array([spikes]), count_bits)
        bits[count_bits:begin] = _bits_of(positions, low_bits)
        bits[begin + ones] = 1
        return np.packbits(bits).tobytes()

    def decode(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The code of that shape; its positions must ascend and lie in it, and nothing may follow them."""
        elements = prod(shape)
        available = 8 * len(payload)
        if not available:
            return np.zeros(shape, np.uint8)
        count_bits = elements.bit_length()
        # With k = n the high parts take 2n bits, and no k takes more.
        if available >= count_bits + 2 * elements + 8:
            raise CodecError(f"sparse payload: no code {list(shape)} takes {len(payload)} bytes")
        head = int.from_bytes(payload[: -(-count_bits // 8)], "big")
        spikes = head >> (-count_bits % 8)
        if not 0 < spikes <= elements:
            raise CodecError(f"sparse payload: {spikes} spikes announced for {elements} elements")
        count_bits, low_bits = _layout(elements, spikes)
        begin = count_bits + spikes * low_bits
        if begin + spikes > available:
            raise CodecError(f"sparse payload: {len(payload)} bytes are too few for {spikes} spikes")
        bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        ones = np.flatnonzero(bits[begin:])
        if len(ones) != spikes:
            raise CodecError(f"sparse payload: {len(ones)} spikes instead of the {spikes} announced")
        if len(payload) != (begin + int(ones[-1])) // 8 + 1:
            raise CodecError("sparse payload: bytes follow the last spike")
        low = bits[count_bits:begin].reshape(spikes, low_bits) @ _weights(low_bits)
        positions = ((ones - np.arange(spikes)) << low_bits) | low
        if positions[-1] >= elements or (positions[1:] <= positions[:-1]).any():
            raise CodecError("sparse payload: positions that do not ascend or lie outside the code")
        code = np.zeros(elements, np.uint8)
        code[positions] = 1
        return code.reshape(shape)

    def payload_bytes(self, shape: tuple[int, ...]) -> None:
        """None: it depends on the spikes."""
        return


def _layout(elements: int, spikes: int) -> tuple[int, int]:
    """Bits of the count, and low bits of each position."""
    return elements.bit_length(), (elements // spikes).bit_length() - 1


def _weights(width: int) -> NDArray[np.int64]:
    return 1 << np.arange(width - 1, -1, -1, dtype=np.int64)


def _bits_of(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """The low `width` bits of each value, most significant first, one after the other."""
    bits: NDArray[np.uint8] = ((values[:, None] & _weights(width)) != 0).ravel().view(np.uint8)
    return bits
