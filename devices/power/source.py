"""What every power source gives, be it a sensor or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

Scope: TypeAlias = Literal["wall", "board", "module", "rail", "emulated"]


class Rail(msgspec.Struct, frozen=True, kw_only=True):
    """One rail of a source and how well it is known. The three limits bound the error of a single reading.

    `gain` is relative; `offset_mw` a constant error; `lsb_mw` the step between two readings. The rails of a source's
    widest scope add up to what it says of the whole node.
    """

    name: str
    scope: Scope
    gain: float = 0.0
    offset_mw: float = 0.0
    lsb_mw: float = 0.0


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


class Sample(msgspec.Struct, frozen=True):
    """Power of one rail, stamped so that a trapezoid over the samples gives the energy."""

    t_ns: int
    rail: str
    mw: float


class Surroundings(NamedTuple):
    """What a source may need beside its spec: the worker's activity file, and where /sys is looked for."""

    activity: Path
    root: Path = Path("/")


class SelfCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a source has to say of its readings when all are taken: facts, and warnings with number and limit."""

    detail: dict[str, Any] = {}
    warnings: list[str] = []


class PowerSource(Protocol):
    """One source; probed once, then read by a single thread."""

    def probe(self) -> Capability:
        """Take a first reading and say what there is.

        Raises:
            DeviceError: it cannot be read, with the reason.
        """

    def read(self) -> list[Sample]:
        """The samples since the previous read: one per rail, or what has arrived of itself.

        Raises:
            DeviceError: it can no longer be read.
        """

    def close(self) -> None:
        """Let go of the source; more than once does no harm."""


@runtime_checkable
class SelfChecking(Protocol):
    """A source that can tell whether its readings agree with each other; not every one can."""

    def self_check(self) -> SelfCheck:
        """What was found in the readings so far."""
