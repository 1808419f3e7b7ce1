"""What a manifest says of the sensors that metered a node, and what such a sensor can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from devices.base.power import Rail
from testbed.errors import RecordError
from testbed.record.noderecord import NodeRecord

MIN_READINGS = 20
"""Independent readings in a window under which its energy means nothing: the two that its ends fall between may be
half wrong each, 5% of the window together."""

UNKNOWN_AVERAGING_MS = 1000.0
"""What is assumed of a sensor that does not say over which time it averages: the longest of the sensors here (NVML's
GetPowerUsage on Ampere and later, nvmlDeviceGetPowerUsage in NVIDIA's NVML reference)."""


def window_s(averaging_ms: float | None, rate_hz: float) -> float:
    """The shortest window in which a source gives enough independent readings, with a tenth to spare, in s."""
    return 1.1 * MIN_READINGS * max(_averaging_s(averaging_ms), 1 / rate_hz)


def rest_s(averaging_ms: float | None, rate_hz: float) -> float:
    """The shortest idle phase: an averaging time at either end does not count, and as much must be left, in s."""
    return 3 * max(_averaging_s(averaging_ms), 1 / rate_hz)


def _averaging_s(averaging_ms: float | None) -> float:
    return (UNKNOWN_AVERAGING_MS if averaging_ms is None else averaging_ms) / 1e3


@dataclass(frozen=True)
class Sensor:
    """One power source of a node; `averaging_ms` is None where the source does not know it.

    `modelled` is set for an emulated board, whose power has no sensor's errors.
    """

    source: str
    rails: Mapping[str, Rail]
    averaging_ms: float | None
    modelled: bool = False

    def limits(self, rail: str) -> Rail:
        """How well a rail is known.

        Raises:
            RecordError: the manifest does not say it.
        """
        if self.modelled:
            return Rail(name=rail, scope="emulated")
        if rail not in self.rails:
            raise RecordError(f"the manifest does not say how well {self.source} measures {rail}; measure again")
        return self.rails[rail]

    @property
    def averaging_s(self) -> float:
        """The time over which a reading is averaged; `UNKNOWN_AVERAGING_MS` where that is not known."""
        return _averaging_s(self.averaging_ms)

    def readings(self, samples: int, seconds: float) -> float:
        """Independent readings in a window: no more than its samples, nor than averaging times fit in."""
        if self.averaging_s == 0:
            return float(samples)
        return min(float(samples), seconds / self.averaging_s + 1)


def sensor(node: NodeRecord, source: str) -> Sensor:
    """What the node's worker recorded of a source; where repeats differ, the wider limit of each.

    Raises:
        RecordError: a sensor's limits are not in the manifest.
    """
    found = [
        capability
        for repeat in node.repeats.values()
        for capability in repeat.loaded.power
        if capability.source == source
    ]
    known = [capability.averaging_ms for capability in found if capability.averaging_ms is not None]
    averaging_ms = max(known) if known and len(known) == len(found) else None
    if node.profile.kind == "emulated":
        return Sensor(source, {}, averaging_ms or 0.0, modelled=True)
    if not found:
        raise RecordError(f"{node.id}: the manifest does not say how well {source} measures; measure again")
    rails: dict[str, Rail] = {}
    for rail in (rail for capability in found for rail in capability.rails):
        so_far = rails.get(rail.name, rail)
        rails[rail.name] = msgspec.structs.replace(
            rail,
            gain=max(so_far.gain, rail.gain),
            offset_mw=max(so_far.offset_mw, rail.offset_mw),
            lsb_mw=max(so_far.lsb_mw, rail.lsb_mw),
        )
    return Sensor(source, rails, averaging_ms)
