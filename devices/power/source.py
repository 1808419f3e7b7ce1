"""What every power source gives, be it a sensor or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from devices.base.power import Capability
from devices.power.spec import PowerSpec
from devices.radios import Radio


class Sample(msgspec.Struct, frozen=True):
    """Power of one rail, stamped so that a trapezoid over the samples gives the energy."""

    t_ns: int
    rail: str
    mw: float


class Surroundings(NamedTuple):
    """What a source may need beside its spec.

    Attributes:
        activity: the worker's file, for a model.
        root: where /sys is looked for.
        radio: what the activity file tells the energy of; None where nothing is sent.
    """

    activity: Path
    root: Path = Path("/")
    radio: Radio | None = None


class SelfCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a source has to say of its readings when all are taken: facts, and warnings with number and limit.

    `implausible` counts by rail the readings that the source left out itself because nothing can draw that.
    """

    detail: dict[str, Any] = {}
    warnings: list[str] = []
    implausible: dict[str, int] = {}


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


class SourceType(Protocol):
    """A class of power sources, and the spec that a profile gives it."""

    @property
    def Spec(self) -> type[PowerSpec]:  # noqa: N802
        """What a profile says of such a source."""

    def __call__(self, spec: Any, surroundings: Surroundings) -> PowerSource:
        """A source that is not yet probed."""


@runtime_checkable
class SelfChecking(Protocol):
    """A source that can tell whether its readings agree with each other; not every one can."""

    def self_check(self) -> SelfCheck:
        """What was found in the readings so far."""
