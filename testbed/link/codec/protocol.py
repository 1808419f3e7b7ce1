"""What every codec can do, and the error of a payload that is none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from testbed.errors import LinkError


class CodecError(LinkError):
    """A payload that is not a code, or a codec that does not exist or lacks what it needs."""


class Codec(Protocol):
    """How a code is written on the wire. `wire_id` stands in the frame header; 0 means no codec.

    A code has exactly one payload: `decode` refuses every other one, so `encode(decode(p)) == p`.
    """

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


def wrong_size(name: str, found: int, expected: int, shape: tuple[int, ...]) -> CodecError:
    """The error of a payload whose length no code of that shape has."""
    return CodecError(f"{name} payload: {found} bytes instead of {expected} for a code {list(shape)}")
