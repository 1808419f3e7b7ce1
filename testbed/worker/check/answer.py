"""What `testbed check` asks a node, and what it is told."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from devices.profile import Profile

State: TypeAlias = Literal["ok", "warning", "failed"]


class CheckOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The profile to check, the step graph that each runtime is timed with, and how long to sample power."""

    profile: Profile
    probe: bytes
    power_s: float = 1.0


class CheckLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what was seen, and what to do where that is not right."""

    state: State
    what: str
    seen: str
    fix: str = ""


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at on the node."""

    lines: list[CheckLine]
    facts: dict[str, Any]
