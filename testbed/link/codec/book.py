"""All codecs for the codes of one model: by name on the edge, by the number in the frame header on the cloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.link.codec.entropy import Entropy
from testbed.link.codec.plain import Packed
from testbed.link.codec.protocol import CodecError
from testbed.link.codec.registry import AUTO, NEED_RATES, SERIAL, codec_named, codec_names, plain_codecs
from testbed.link.codec.sparse import Sparse

Encode: TypeAlias = Callable[[NDArray[np.uint8], int], tuple[int, bytes]]
"""From a code and its timestep, counted from 0, to the number of the codec that was used and the payload."""


class Use(NamedTuple):
    """One code that was made a payload (`encodes`), or was read from one; `serial`: element after element."""

    encodes: bool
    elements: int
    payload_bytes: int
    serial: bool


class CodecBook:
    """The codecs for codes [C', H', W'], with the spike rate of each channel at each timestep where it is known.

    Attributes:
        on_use: told of each code that was written or read; None: nobody is.
    """

    def __init__(self, shape: Sequence[int] | None, rates: Sequence[Sequence[float]] | None) -> None:
        """Bind the codecs to a model's `code_shape` and `code_rates` [T][C'].

        Raises:
            CodecError: the model makes no code, or the rates do not fit the shape.
        """
        if shape is None:
            raise CodecError("this model is not split, so it makes no code that could be sent")
        self.on_use: Callable[[Use], None] | None = None
        self._shape = tuple(shape)
        self._entropy = None if rates is None else [Entropy(self._shape, row) for row in rates]
        self._by_id = {codec.wire_id: codec for codec in plain_codecs().values()}

    def encoder(self, name: str) -> Encode:
        """How a codec of that name encodes; `auto` takes the shortest payload for each code.

        Raises:
            CodecError: there is none of that name, or it needs rates and the model carries none.
        """
        if name not in codec_names():
            raise CodecError(f"no codec named {name!r}; there is {', '.join(codec_names())}")
        if name in NEED_RATES:
            self._rated(name)
        encode = self._shortest if name == AUTO else partial(self._encoded, name)

        def told(code: NDArray[np.uint8], timestep: int) -> tuple[int, bytes]:
            wire_id, payload = encode(code, timestep)
            if self.on_use is not None:
                self.on_use(Use(True, code.size, len(payload), name in SERIAL))
            return wire_id, payload

        return told

    def decode(self, wire_id: int, payload: bytes | memoryview, timestep: int) -> NDArray[np.uint8]:
        """The code in a payload, given the codec's number and the timestep, counted from 0.

        Raises:
            CodecError: there is no such codec, or the payload is not a code of this model.
        """
        code = self._decoded(wire_id, payload, timestep)
        if self.on_use is not None:
            self.on_use(Use(False, code.size, len(payload), wire_id == Entropy.wire_id))
        return code

    def _decoded(self, wire_id: int, payload: bytes | memoryview, timestep: int) -> NDArray[np.uint8]:
        if wire_id == Entropy.wire_id:
            rated = self._rated(Entropy.name)
            if timestep >= len(rated):
                raise CodecError(f"entropy payload: there are rates for {len(rated)} timesteps, not for {timestep + 1}")
            return rated[timestep].decode(payload, self._shape)
        if wire_id not in self._by_id:
            raise CodecError(f"no codec has the number {wire_id}")
        return self._by_id[wire_id].decode(payload, self._shape)

    def _encoded(self, name: str, code: NDArray[np.uint8], timestep: int) -> tuple[int, bytes]:
        codec = self._rated(name)[timestep] if name == Entropy.name else codec_named(name)
        return codec.wire_id, codec.encode(code)

    def _shortest(self, code: NDArray[np.uint8], timestep: int) -> tuple[int, bytes]:
        """Of equals the one that is decoded soonest."""
        every = [self._encoded(name, code, timestep) for name in (Packed.name, Sparse.name, Entropy.name)]
        return min(every, key=lambda encoded: len(encoded[1]))

    def _rated(self, name: str) -> list[Entropy]:
        if self._entropy is None:
            raise CodecError(f"codec {name} needs the model's spike rates, and this model.yaml has no code_rates")
        return self._entropy
