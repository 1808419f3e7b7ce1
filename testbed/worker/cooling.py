"""Waiting until a board is as warm as it was before the campaign's first repeat on it.

A warm chip leaks more current, and its fan runs. A repeat that begins warmer than the first would be charged with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from devices.clocks import temperatures_c
from testbed.link.messages import CoolDown
from testbed.record.noderecord import Cooling
from testbed.worker.station import Station

LOOK_S = 1.0


def cool_down(station: Station, order: CoolDown) -> Cooling:
    """Wait until no zone is warmer than it may be, or as long as the order allows, or until cancelled.

    Where the order names no temperatures nothing is waited for: this is the first repeat, and what is read here is what
    others are compared with.
    """
    started = time.monotonic()
    zones = temperatures_c(station.machine)
    while too_warm(zones, order.as_warm_as, order.within_c) and not station.cancel.is_set():
        left_s = order.at_most_s - (time.monotonic() - started)
        if left_s <= 0:
            break
        station.cancel.wait(min(LOOK_S, left_s))
        zones = temperatures_c(station.machine)
    found = Cooling(
        waited_s=time.monotonic() - started,
        temperature_c=zones,
        as_warm_as=order.as_warm_as,
        gave_up=too_warm(zones, order.as_warm_as, order.within_c),
    )
    station.event("cooldown", waited_s=round(found.waited_s, 1), temperature_c=zones, gave_up=found.gave_up)
    return found


def too_warm(zones: Mapping[str, float], as_warm_as: Mapping[str, float], within_c: float) -> bool:
    """Whether a zone is more than so many °C above what it was; one that is not told of any more is not."""
    return any(zones[name] - as_warm_as[name] > within_c for name in zones.keys() & as_warm_as.keys())
