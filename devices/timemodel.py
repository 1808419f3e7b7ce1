"""How long an emulated board takes for what its host computes: from published figures, or from what the host took.

To add a model is to add a struct here, and its name to `TimeModel`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from devices.power.spec import Text

Giga: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
"""A rate in 1e9 a second."""
Overhead: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call of a step graph asks of a processor, whatever its input.

    Attributes:
        macs: multiply-accumulates of layers that compute in floating point; zeros are multiplied too.
        int8_macs: likewise, of layers that compute in 8-bit integers.
        bytes: read and written: each layer's weights, inputs and outputs, the graph's own, and its states.
        layers: how many layers with weights there are.
    """

    macs: Count
    int8_macs: Count = 0
    bytes: Count
    layers: Count


class Roofline(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="model", tag="roofline"
):
    """A board as its figures have it: what bounds a call is arithmetic or memory, whichever takes longer.

    That is the roofline of Williams, Waterman and Patterson (Communications of the ACM 52(4), 2009), with an overhead
    for each call and for each layer in it, which is most of what a small network takes on a GPU. Rates are those that
    are attained, not peaks. `reference` names the source of each figure.

    Attributes:
        gmacs_per_s: 1e9 multiply-accumulates a second in float32.
        int8_gmacs_per_s: likewise in 8-bit integers; None: as many as in float32.
        gbytes_per_s: 1e9 bytes of memory a second.
        call_overhead_us: of each call of a graph.
        layer_overhead_us: of each layer with weights.
        code_overhead_us: of making a payload of a code, or a code of a payload, on the board's CPU.
        entropy_ns_per_bit: what a codec that codes bit by bit takes for each bit of a code, on the board's CPU.
    """

    gmacs_per_s: Giga
    int8_gmacs_per_s: Giga | None = None
    gbytes_per_s: Giga
    call_overhead_us: Overhead
    layer_overhead_us: Overhead = 0.0
    code_overhead_us: Overhead
    entropy_ns_per_bit: Overhead
    reference: Text

    def call_ns(self, work: Work) -> int:
        """How long a call of a graph takes."""
        int8_gmacs_per_s = self.gmacs_per_s if self.int8_gmacs_per_s is None else self.int8_gmacs_per_s
        arithmetic_ns = work.macs / self.gmacs_per_s + work.int8_macs / int8_gmacs_per_s
        memory_ns = work.bytes / self.gbytes_per_s
        overhead_us = self.call_overhead_us + work.layers * self.layer_overhead_us
        return round(max(arithmetic_ns, memory_ns) + 1000 * overhead_us)

    def code_ns(self, code_bytes: int, payload_bytes: int, coded_bits: int) -> int:
        """How long it takes to make a payload of a code or a code of a payload: both pass through memory once.

        `coded_bits` are those that are coded one by one: all of the code, or none.
        """
        memory_ns = (code_bytes + payload_bytes) / self.gbytes_per_s
        return round(memory_ns + coded_bits * self.entropy_ns_per_bit + 1000 * self.code_overhead_us)

    @property
    def told(self) -> str:
        """The model in a few words, for people."""
        int8 = "" if self.int8_gmacs_per_s is None else f" ({self.int8_gmacs_per_s:g} in int8)"
        return (
            f"computing takes what {self.gmacs_per_s:g} GMAC/s{int8} and {self.gbytes_per_s:g} GB/s come to, and "
            f"{self.call_overhead_us:g} µs a call and {self.layer_overhead_us:g} µs a layer"
        )


class Slowdown(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="model", tag="slowdown"
):
    """A board that takes `slowdown` times what its host took, in the median, when the graph was loaded.

    `reference` names the source of the factor.
    """

    slowdown: Annotated[float, msgspec.Meta(ge=1, le=1e6)]
    reference: Text

    def ns(self, host_ns: float) -> int:
        """How long the board takes for what the host takes so long for."""
        return round(self.slowdown * host_ns)

    @property
    def told(self) -> str:
        """The model in a few words, for people."""
        return f"computing takes {self.slowdown:g} times as long as the host took when it was loaded"


TimeModel: TypeAlias = Roofline | Slowdown
