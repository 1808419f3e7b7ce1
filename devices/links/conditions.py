"""A link in the one form that every profile and trace is converted to; what shapers impose and manifests name.

It travels from the workstation to the nodes in a control message.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

import msgspec

MOST_POINTS = 200_000
"""Of a capacity; with both directions it still fits into a control message."""

Technology: TypeAlias = Literal["ethernet", "wifi", "5g", "lte", "3g", "nb-iot", "other"]
Ms: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=60_000)]


class Capacity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many bytes of IP packets a direction can carry up to each moment: `bytes[i]` until `ms[i]`.

    Both begin with 0 and have equal lengths; `ms` grows strictly, `bytes` never falls and ends above 0. In between it
    is linear. After the last moment it begins anew, on top of what was carried. A constant rate is two points. What is
    not used is lost: nothing is saved up while there is nothing to send.
    """

    ms: Annotated[list[int], msgspec.Meta(min_length=2, max_length=MOST_POINTS)]
    bytes: Annotated[list[int], msgspec.Meta(min_length=2, max_length=MOST_POINTS)]

    def __post_init__(self) -> None:
        if len(self.ms) != len(self.bytes) or self.ms[0] != 0 or self.bytes[0] != 0:
            raise ValueError("a capacity has as many moments as byte counts, and both begin with 0")
        if any(later <= before for before, later in pairwise(self.ms)):
            raise ValueError("the moments of a capacity grow")
        if any(later < before for before, later in pairwise(self.bytes)) or self.bytes[-1] == 0:
            raise ValueError("the bytes of a capacity never fall, and end above 0")

    def carried(self, ms: float) -> float:
        """Bytes up to a moment, all passes before it included."""
        passes, within = divmod(ms, self.ms[-1])
        after = bisect_right(self.ms, within)
        start, end = self.ms[after - 1], self.ms[after]
        low, high = self.bytes[after - 1], self.bytes[after]
        return passes * self.bytes[-1] + low + (high - low) * (within - start) / (end - start)

    def until(self, carried: float) -> float:
        """The first moment, in ms, at which so many bytes have been carried."""
        passes, left = divmod(carried, self.bytes[-1])
        if left == 0 and passes > 0:
            passes, left = passes - 1, float(self.bytes[-1])
        at = bisect_left(self.bytes, left)
        if at == 0:
            return passes * self.ms[-1]
        start, end = self.ms[at - 1], self.ms[at]
        low, high = self.bytes[at - 1], self.bytes[at]
        return passes * self.ms[-1] + start + (end - start) * (left - low) / (high - low)

    @property
    def mean_bytes_per_s(self) -> float:
        """Over one whole pass."""
        return 1000 * self.bytes[-1] / self.ms[-1]


class Direction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One direction of a link; without a `capacity` it is as fast as the path beneath.

    `delay_ms` is propagation, one way; `jitter_ms` is the standard deviation that each packet's delay gets on top,
    without reordering; `loss` is the share of packets that are lost and sent again. `queue_ms` bounds how long a packet
    may wait for capacity; what would wait longer is lost (None: nothing is, TCP's own window is the bound).
    """

    capacity: Capacity | None = None
    delay_ms: Ms = 0.0
    jitter_ms: Ms = 0.0
    loss: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    queue_ms: Ms | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A link in both directions, as seen from the edge.

    Attributes:
        name: for labels and tables.
        technology: what kind of radio or wire; decides the radio energy of an emulated edge.
        up: edge to cloud.
        down: cloud to edge.
        mtu: bytes of the largest IP packet.
        seed: of jitter and losses.
        source: where its figures come from.
        licence: of the trace, where it has one.
    """

    name: str
    technology: Technology
    up: Direction
    down: Direction
    mtu: Annotated[int, msgspec.Meta(ge=576, le=9000)] = 1500
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    source: str = ""
    licence: str = ""

    @property
    def loses(self) -> bool:
        """Whether packets are lost, in either direction."""
        return bool(self.up.loss or self.down.loss)

    @property
    def sha256(self) -> str:
        """Of everything that shapes traffic: equal for links that do the same, whatever they are called."""
        shaping = (self.technology, self.up, self.down, self.mtu, self.seed)
        return hashlib.sha256(msgspec.json.encode(shaping)).hexdigest()
