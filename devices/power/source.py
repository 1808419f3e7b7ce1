"""What every power source gives, be it a sensor or a model."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Scope: TypeAlias = Literal["wall", "board", "module", "rail", "emulated"]


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """What a probed source can do. `detail` holds facts for the manifest (averaging, resolution)."""

    source: str
    rails: list[str]
    scope: Scope
    rate_hz_max: float | None
    detail: dict[str, Any]


class Sample(msgspec.Struct, frozen=True):
    """Power of one rail, stamped so that a trapezoid over the samples gives the energy."""

    t_ns: int
    rail: str
    mw: float


class PowerSource(Protocol):
    """One source; probed once, then read by a single thread."""

    def probe(self) -> Capability:
        """Take a first reading and say what there is.

        Raises:
            DeviceError: it cannot be read, with the reason.
        """

    def read(self) -> list[Sample]:
        """One sample per rail.

        Raises:
            DeviceError: it can no longer be read.
        """

    def close(self) -> None:
        """Let go of the source; more than once does no harm."""
