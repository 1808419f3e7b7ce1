"""Power as it is told and recorded: scopes, rails and their limits, what a source can do, one sample as a row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, TypeAlias, get_args

import msgspec

MeasuredScope: TypeAlias = Literal["wall", "board", "module", "rail"]
Scope: TypeAlias = Literal[MeasuredScope, "emulated"]

WIDEST_FIRST: tuple[Scope, ...] = get_args(Scope)


def widest(scopes: Collection[str]) -> Scope:
    """The scope whose rails are added up: a sensor may report a sum beside its parts (VDD_IN, VDD_CPU_GPU_CV)."""
    return next(scope for scope in WIDEST_FIRST if scope in scopes)


class Rail(msgspec.Struct, frozen=True, kw_only=True):
    """One rail of a source and how well it is known. The three limits bound the error of a single reading.

    `gain` is relative; `offset_mw` a constant error; `lsb_mw` the step between two readings. `max_mw` is what the rail
    can draw at all: a reading above it is not believed (None: a model, which has no readings). The rails of a source's
    widest scope add up to what it says of the whole node.
    """

    name: str
    scope: Scope
    gain: float = 0.0
    offset_mw: float = 0.0
    lsb_mw: float = 0.0
    max_mw: float | None = None


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """What a probed source can do.

    `averaging_ms` is the time over which the sensor averages each reading (None: not known); `detail` holds facts
    for the manifest.
    """

    source: str
    rails: list[Rail]
    rate_hz_max: float | None
    averaging_ms: float | None
    detail: dict[str, Any]


class PowerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One power sample of one rail, stamped with the node's monotonic clock."""

    node: str
    source: str
    rail: str
    scope: Scope
    t_ns: int
    mw: float
