"""Power as jetson-stats (`jtop`) reports it. The package is AGPL, so it is imported by a process of its own alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability
from devices.power.jtop_reader import Message
from devices.power.printed import PrintedPower, PrintedSource, quote
from devices.power.source import Surroundings


class JtopPower(PrintedPower, frozen=True, kw_only=True, tag="jtop"):
    """The service of jetson-stats, which advises 500 ms or more. `board` and `rails` are as for tegrastats."""

    rate_hz: Annotated[float, msgspec.Meta(ge=0.2, le=2)]


class JtopSource(PrintedSource):
    """The `power` of each rail, at each update of jtop's service."""

    Spec = JtopPower

    program = "jtop"

    def __init__(self, spec: JtopPower, surroundings: Surroundings) -> None:
        super().__init__(spec, surroundings)
        self._spec = spec

    def probe(self) -> Capability:
        """Connect to jtop's service and read its first update.

        Raises:
            DeviceError: jetson-stats or its service is missing, it runs at a slower interval than asked, has no rails,
                or nobody knows which rails make up the whole node.
        """
        interval_s = 1 / self._spec.rate_hz
        command = [sys.executable, "-m", "devices.power.jtop_reader", str(interval_s)]
        message = _message(self._start(command, interval_s))
        if message.interval_s > interval_s * 1.01:
            raise DeviceError(
                f"jtop's service runs at {message.interval_s:g} s instead of {interval_s:g} s: its first client sets "
                f"the interval for all. Close the others, or set `rate_hz: {1 / message.interval_s:g}`"
            )
        if not message.rails_mw:
            raise DeviceError(
                "jtop's service shows no power rails on this node; a board without a power monitor needs another "
                "source, such as an external meter (docs/power.md)"
            )
        model = self._find_rails(message.rails_mw)
        return Capability(
            source="jtop",
            rails=self._rails,
            rate_hz_max=1 / message.interval_s,
            averaging_ms=None,
            detail={
                "board": model,
                "jetson_stats": message.version,
                "interval_ms": message.interval_s * 1000,
                "stamp": "arrival of the update; the service read the sensor up to one interval earlier",
                "averaging": "jtop hands on the driver's reading; over how long the sensor averages is not known",
            },
        )

    def _power_mw(self, text: str) -> Mapping[str, float]:
        return _message(text).rails_mw


def _message(text: str) -> Message:
    try:
        message = msgspec.json.decode(text, type=Message)
    except msgspec.MsgspecError as error:
        raise DeviceError(f"jtop: what its reader wrote cannot be read ({error}): {quote(text)}") from error
    if message.error:
        raise DeviceError(f"jtop: {message.error}")
    return message
