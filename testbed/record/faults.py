"""Faults that an experiment asks for, in the words that a cell's documents keep of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FaultKind: TypeAlias = Literal["link_down", "link_rate", "link_delay", "cloud_stopped", "cloud_killed", "edge_killed"]
LINK_FAULTS: tuple[FaultKind, ...] = ("link_down", "link_rate", "link_delay")


class FaultDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault as asked for (docs/experiment.md); one of `at_s` and `at_request` is set."""

    fault: FaultKind
    at_s: float | None
    at_request: int | None
    for_s: float
    factor: float | None
    add_ms: float | None


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault as it was: from when to when, on the orchestrator's monotonic clock.

    `until_ns` is when it was undone: the link's conditions restored, the stopped worker let go on, the killed one ready
    again. None where the repeat ended before that.
    """

    fault: FaultKind
    from_ns: int
    until_ns: int | None
