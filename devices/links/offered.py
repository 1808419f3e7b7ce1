"""What a capacity offers: bytes up to each moment, in each second, and over a whole pass."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from devices.links.conditions import Capacity

Numbers: TypeAlias = npt.NDArray[np.float64]

WINDOW_MS = 1000


def offered(capacity: Capacity, ms: npt.ArrayLike) -> Numbers:
    """Bytes of IP packets that can be carried up to each moment of the link's time."""
    moments = np.asarray(ms, np.float64)
    passes, rest = np.divmod(moments, capacity.ms[-1])
    return passes * capacity.bytes[-1] + np.interp(rest, capacity.ms, capacity.bytes)


def bytes_per_second(capacity: Capacity, seconds: int) -> Numbers:
    """Bytes that can be carried in each of the first seconds, shape [seconds]."""
    return np.diff(offered(capacity, np.arange(seconds + 1) * WINDOW_MS))


def windows(capacity: Capacity) -> Numbers:
    """Bytes in each second that begins in one pass; the last may run into the next pass."""
    return bytes_per_second(capacity, -(-capacity.ms[-1] // WINDOW_MS))


def reached(capacity: Capacity, total_bytes: npt.ArrayLike) -> Numbers:
    """Moments in ms at which so many bytes have been offered."""
    passes, rest = np.divmod(np.asarray(total_bytes, np.float64), capacity.bytes[-1])
    return passes * capacity.ms[-1] + np.interp(rest, capacity.bytes, capacity.ms)
