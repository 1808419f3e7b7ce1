"""Spikes ↔ bytes. A code is a uint8 array of zeros and ones [C', H', W'].

A decoder is handed whatever arrived, so it checks all of it: a payload that no encoder makes is a
`CodecError`, and nothing larger than the shape asks for is ever allocated.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from testbed.errors import LinkError

_FLOAT_ONE = 0x3F800000  # 1.0 in IEEE 754 binary32


class CodecError(LinkError):
    """A payload that is not a code, or a codec that does not exist."""


class Codec(Protocol):
    """How a code is written on the wire. `wire_id` stands in the frame header; 0 means no codec."""

    name: str
    wire_id: int

    def encode(self, code: NDArray[np.uint8]) -> bytes:
        """Payload of a code."""
        ...

    def decode(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The code of that shape in a payload.

        Raises:
            CodecError: the payload is not a code of that shape.
        """
        ...

    def payload_bytes(self, shape: tuple[int, ...]) -> int | None:
        """Size of every payload of that shape, None where it depends on the spikes."""
        ...


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
            raise _wrong_size(self.name, len(payload), expected, shape)
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
            raise _wrong_size(self.name, len(payload), expected, shape)
        if padding and payload[-1] & padding:
            raise CodecError("packed payload: padding bits are set, so this is no code of that shape")
        # unpackbits(count=...) would cost as much again on a small code.
        bits = np.unpackbits(np.frombuffer(payload, np.uint8))
        return (bits[:elements] if padding else bits).reshape(shape)

    def payload_bytes(self, shape: tuple[int, ...]) -> int:
        """One bit an element, rounded up to bytes."""
        return _packed_layout(shape)[1]


CODECS: dict[str, Codec] = {codec.name: codec for codec in (Float32(), Packed())}
_BY_ID = {codec.wire_id: codec for codec in CODECS.values()}


def codec_named(name: str) -> Codec:
    """The codec an experiment names.

    Raises:
        CodecError: there is none of that name.
    """
    if name not in CODECS:
        raise CodecError(f"no codec named {name!r}; there is {', '.join(CODECS)}")
    return CODECS[name]


def codec_by_id(wire_id: int) -> Codec:
    """The codec that a frame header names.

    Raises:
        CodecError: there is none of that number.
    """
    if wire_id not in _BY_ID:
        raise CodecError(f"no codec has the number {wire_id}")
    return _BY_ID[wire_id]


@lru_cache(maxsize=64)
def _packed_layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Number of elements, number of bytes, and the mask of the last byte's padding bits."""
    elements = prod(shape)
    return elements, -(-elements // 8), (1 << (-elements % 8)) - 1


def _wrong_size(name: str, found: int, expected: int, shape: tuple[int, ...]) -> CodecError:
    return CodecError(f"{name} payload: {found} bytes instead of {expected} for a code {list(shape)}")
