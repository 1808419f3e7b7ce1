"""A range coder in exact integers: the same bytes from every machine, and the fewest that name the message.

G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised message", 1979. A message
is a subinterval of [0, 1), as wide as the message is probable; its payload is the shortest byte string that, read
as a binary fraction, lies in it. So -log2(probability) bits are rounded up to a byte and nothing is added. The
payload's length is known from the frame, and what lies beyond its end reads as zeros.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from testbed.link.codec.protocol import CodecError

PRECISION = 32
"""The weights of a table's symbols add up to 2^PRECISION."""

# The interval's width stays above 2^WORD: dividing it by 2^PRECISION then costs at most 2^-16 of it.
_WORD = 48
_WORD_BYTES = _WORD // 8
_WINDOW = 2 * _WORD
_WINDOW_BYTES = _WINDOW // 8
_MASK = (1 << _WORD) - 1


class Table(NamedTuple):
    """Symbols in groups of equal weight: those of group g are numbered from `first[g]` and start at `start[g]`."""

    start: list[int]
    weight: list[int]
    first: list[int]


def encode(symbols: Iterable[tuple[int, int]]) -> bytes:
    """Payload of a message, given where each symbol starts in its table and how much it weighs there."""
    low, width = 0, 1 << _WINDOW
    words: list[int] = []
    for start, weight in symbols:
        unit = width >> PRECISION
        low += start * unit
        width = weight * unit
        if width <= _MASK:
            words.append(low >> _WORD)  # a carry may make it one bit longer, see _join
            low = (low & _MASK) << _WORD
            width <<= _WORD
    # The shortest fraction in the interval: the first multiple of the greatest power of 256 that has one there.
    for spare in range(_WINDOW, -1, -8):
        value = -(-low >> spare) << spare
        if value < low + width:
            break
    return _join([*words, value >> _WORD, value & _MASK]).rstrip(b"\0")


def decode(payload: bytes | memoryview, tables: Iterable[Table]) -> list[int]:
    """The symbols of a message, one from each table.

    Raises:
        CodecError: the payload is not the one that `encode` makes of these symbols.
    """
    value, width = _word(payload, 0) << _WORD | _word(payload, _WORD_BYTES), 1 << _WINDOW
    read = _WINDOW_BYTES
    symbols: list[int] = []
    for start, weights, first in tables:
        unit = width >> PRECISION
        target = value // unit
        if target >> PRECISION:
            raise CodecError("entropy payload: it lies between two codes")
        group = bisect_right(start, target) - 1
        weight = weights[group]
        number = (target - start[group]) // weight
        symbols.append(first[group] + number)
        value -= (start[group] + number * weight) * unit
        width = weight * unit
        if width <= _MASK:
            value = value << _WORD | _word(payload, read)
            width <<= _WORD
            read += _WORD_BYTES
    _check_shortest(payload, read, value, width)
    return symbols


def _check_shortest(payload: bytes | memoryview, read: int, value: int, width: int) -> None:
    """Refuse a payload for which `encode` would have written another one.

    `value` is how far the payload's fraction lies above the interval's lower end, in units of its last read bit.
    """
    size = len(payload)
    if not size:
        return
    last, unit = payload[-1], 1 << 8 * max(0, read - size)
    # Not the shortest if a multiple of 256 units lies in the interval; not the first if the one before also does.
    # Bytes that no symbol has read are refused too: the interval is wider than 2^48 of their units.
    if last == 0 or value >= unit or width - value > (256 - last) * unit:
        raise CodecError("entropy payload: not the shortest form of its code, so no encoder wrote it")


def _word(payload: bytes | memoryview, at: int) -> int:
    part = payload[at : at + _WORD_BYTES]
    return int.from_bytes(part, "big") << 8 * (_WORD_BYTES - len(part))


def _join(words: Sequence[int]) -> bytes:
    """Words as bytes, with what exceeds a word carried into the one before."""
    parts: list[bytes] = []
    carry = 0
    for word in reversed(words):
        total = word + carry
        parts.append((total & _MASK).to_bytes(_WORD_BYTES, "big"))
        carry = total >> _WORD
    return b"".join(reversed(parts))
