"""A range coder under the spike rates that the model had on its training data, one for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from testbed.link.codec import rangecoder
from testbed.link.codec.protocol import CodecError
from testbed.link.codec.rangecoder import PRECISION, Table

RATE_BITS = 16
"""Rates are multiples of 2^-16, so that both ends compute with the same integers."""

BLOCK = 16
"""Elements of a channel that are coded as one symbol: Python then loops over sixteenths of a code."""


class Entropy:
    """The elements of channel c as independent spikes of rate p_c, at close to -log2 of their probability.

    A channel's elements in C order are cut into blocks of 16, the last one shorter. All blocks of k spikes are
    equally probable, so a block's table has one weight for each k. Rates are rounded to multiples of 2^-16 and
    kept off 0 and 1: a spike in a channel that never spiked costs 16 bits, and every code can be written.
    """

    name = "entropy"
    wire_id = 4

    def __init__(self, shape: Sequence[int], rates: Sequence[float]) -> None:
        """Bind the codec to codes [C', H', W'] and the spike rate of each channel.

        Raises:
            CodecError: there is not one rate in [0, 1] for each channel.
        """
        if len(rates) != shape[0] or not all(0 <= rate <= 1 for rate in rates):
            raise CodecError(
                f"{len(rates)} spike rates do not fit a code {list(shape)}: one in [0, 1] for each channel"
            )
        self._shape = tuple(shape)
        self._elements = int(np.prod(shape[1:]))
        self._blocks = -(-self._elements // BLOCK)
        self._last = self._elements - BLOCK * (self._blocks - 1)
        sizes = [*[BLOCK] * (self._blocks - 1), self._last]
        grid = [min(max(round(rate * (1 << RATE_BITS)), 1), (1 << RATE_BITS) - 1) for rate in rates]
        kinds = [(rate, size) for rate in grid for size in sizes]
        self._tables = [block_table(*kind) for kind in kinds]
        distinct = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
        self._rows = (BLOCK + 1) * np.array([distinct[kind] for kind in kinds])
        self._start = _matrix([block_table(*kind).start for kind in distinct])
        self._weight = _matrix([block_table(*kind).weight for kind in distinct])

    def encode(self, code: NDArray[np.uint8]) -> bytes:
        """Payload of a code."""
        spikes, rank, _, _ = _patterns()
        packed = np.zeros((self._shape[0], 2 * self._blocks), np.uint8)
        bits = np.packbits(code.reshape(self._shape[0], -1), axis=1)
        packed[:, : bits.shape[1]] = bits
        blocks = packed.view(">u2").astype(np.int64)
        blocks[:, -1] >>= BLOCK - self._last
        patterns = blocks.ravel()
        group = self._rows + spikes[patterns]
        weight = self._weight[group]
        start = self._start[group] + rank[patterns] * weight
        return rangecoder.encode(zip(start.tolist(), weight.tolist(), strict=True))

    def decode(self, payload: bytes | memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The code of that shape, which must be the one the codec is bound to."""
        if shape != self._shape:
            raise CodecError(f"entropy payload: the rates belong to codes {list(self._shape)}, not {list(shape)}")
        _, _, order, _ = _patterns()
        patterns = order[rangecoder.decode(payload, self._tables)].reshape(shape[0], self._blocks)
        patterns[:, -1] <<= BLOCK - self._last
        bits = np.unpackbits(patterns.astype(">u2").view(np.uint8), axis=1, count=self._elements)
        return bits.reshape(shape)

    def payload_bytes(self, shape: tuple[int, ...]) -> None:
        """None: it depends on the spikes."""
        return


@lru_cache(maxsize=1)
def _patterns() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[int]]:
    """About the 2^16 patterns of a block: spikes, rank among those of as many spikes, all in order, group starts.

    The order is by spikes, then by value. Patterns of a shorter block are the first of each group of spikes.
    """
    values = np.arange(1 << BLOCK, dtype=">u2")
    spikes = np.unpackbits(values.view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1, dtype=np.int64)
    order = np.argsort(spikes, kind="stable")
    first = np.concatenate(([0], np.cumsum(np.bincount(spikes))[:-1]))
    rank = np.empty_like(order)
    rank[order] = np.arange(1 << BLOCK) - first[spikes[order]]
    return spikes, rank, order, first.tolist()


@lru_cache(maxsize=4096)
def block_table(rate: int, size: int) -> Table:
    """The table of a block of `size` elements that spike at `rate` / 2^16: a group for each number of spikes."""
    silent = (1 << RATE_BITS) - rate
    weight = [
        max(1, (rate**spikes * silent ** (size - spikes) << PRECISION) >> RATE_BITS * size)
        for spikes in range(size + 1)
    ]
    patterns = [comb(size, spikes) for spikes in range(size + 1)]
    # The most probable pattern is alone in its group, and it outweighs all that rounding can have added.
    likeliest = 0 if rate <= silent else size
    weight[likeliest] += (1 << PRECISION) - sum(number * each for number, each in zip(patterns, weight, strict=True))
    start = [0]
    for number, each in zip(patterns[:-1], weight[:-1], strict=True):
        start.append(start[-1] + number * each)
    return Table(start, weight, _patterns()[3])


def _matrix(rows: list[list[int]]) -> NDArray[np.int64]:
    """Rows of up to 17 numbers, one after the other at a distance of 17."""
    return np.array([[*row, *[0] * (BLOCK + 1 - len(row))] for row in rows], np.int64).ravel()
