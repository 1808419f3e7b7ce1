"""What a devices/links/*.yaml may say of a link."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from devices.links.conditions import Ms, Technology
from devices.power.spec import Share, Text, wrong

Way: TypeAlias = Literal["up", "down"]

Format: TypeAlias = Literal["mahimahi", "seconds_mbit_s", "csv"]
"""How a trace is written: docs/links.md."""

MOST_MBIT_S = 100_000
LEAST_MBIT_S = 0.0001

Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=LEAST_MBIT_S, le=MOST_MBIT_S)]


class DirectionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One direction: a constant rate, a trace, or with neither the rate of the path beneath.

    `trace` is a file, seen from the profile's folder; `format` is for one that can be read in several ways. The other
    keys are those of `devices.links.conditions.Direction`.
    """

    mbit_s: Rate | None = None
    trace: Text | None = None
    format: Format | None = None
    delay_ms: Ms
    jitter_ms: Ms = 0.0
    loss: Share = 0.0
    queue_ms: Ms | None = None

    def __post_init__(self) -> None:
        if self.mbit_s is not None and self.trace is not None:
            raise wrong("Expected either `mbit_s:` or `trace:`, got both", ".trace")
        if self.format is not None and self.trace is None:
            raise wrong("Expected `format:` beside `trace:` only", ".format")


class LinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One link, as seen from the edge: `up` is from the edge to the cloud.

    `title` is for people. `source` says where each figure comes from, and `licence` what a trace is under.
    """

    name: Annotated[Text, msgspec.Meta(max_length=64)]
    title: Text
    technology: Technology
    up: DirectionSpec
    down: DirectionSpec
    mtu: Annotated[int, msgspec.Meta(ge=576, le=9000)] = 1500
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    source: Text
    licence: str = ""
