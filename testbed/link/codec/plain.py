"""The codecs whose every payload has the same length: a float32 or a bit for each element."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from testbed.link.codec.protocol import CodecError, wrong_size

_FLOAT_ONE = 0x3F800000  # 1.0 in IEEE 754 binary32


class Float32:
    """A little-endian float32 for each element: what a system without a codec sends."""

    name = "float32"
    wire_id = 1

    def encode(self, code: NDArray[np.uint8]) -> bytes:
        """Payload of a code."""
        return code.astype("<f4").tobytes()

    def decode(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The code of that shape; each value must be exactly 0.0 or 1.0."""
        expected = self.payload_bytes(shape)
        if len(payload) != expected:
            raise wrong_size(self.name, len(payload), expected, shape)
        patterns = np.frombuffer(payload, dtype="<u4")
        spikes: NDArray[np.bool_] = patterns == _FLOAT_ONE
        if not (spikes | (patterns == 0)).all():
            raise CodecError("float32 payload: a value is neither 0.0 nor 1.0, so this is no code")
        return spikes.view(np.uint8).reshape(shape)

    def payload_bytes(self, shape: tuple[int, ...]) -> int:
        """Four bytes an element."""
        return 4 * prod(shape)


class Packed:
    """One bit for each element, in C order, most significant bit first; the last byte padded with zeros."""

    name = "packed"
    wire_id = 2

    def encode(self, code: NDArray[np.uint8]) -> bytes:
        """Payload of a code."""
        return np.packbits(code).tobytes()

    def decode(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The code of that shape; padding bits must be zero."""
        elements, expected, padding = _packed_layout(shape)
        if len(payload) != expected:
            raise wrong_size(self.name, len(payload), expected, shape)
        if padding and payload[-1] & padding:
            raise CodecError("packed payload: padding bits are set, so this is no code of that shape")
        # unpackbits(count=...) would cost as much again on a small code.
        bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        return (bits[:elements] if padding else bits).reshape(shape)

    def payload_bytes(self, shape: tuple[int, ...]) -> int:
        """One bit an element, rounded up to bytes."""
        return _packed_layout(shape)[1]


@lru_cache(maxsize=64)
def _packed_layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Number of elements, number of bytes, and the mask of the last byte's padding bits."""
    elements = prod(shape)
    return elements, -(-elements // 8), (1 << (-elements % 8)) - 1
