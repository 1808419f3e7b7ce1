"""Power as jetson-stats (`jtop`) reports it. The package is AGPL, so it is imported by a process of its own alone."""

from __future__ import annotations

import sys

import msgspec

from devices.errors import DeviceError
from devices.power.child import Line, LineChild
from devices.power.jtop_reader import Message
from devices.power.printed import printed_check, printed_rails
from devices.power.rails import board_text
from devices.power.source import Capability, Rail, Sample, SelfCheck, Surroundings
from devices.profile import JtopPower


class JtopSource:
    """The `power` of each rail, at each update of jtop's service."""

    def __init__(self, spec: JtopPower, surroundings: Surroundings) -> None:
        self._spec = spec
        self._root = surroundings.root
        self._child: LineChild | None = None
        self._rails: list[Rail] = []
        self._waited = 0

    def probe(self) -> Capability:
        """Connect to jtop's service and read its first update.

        Raises:
            DeviceError: jetson-stats or its service is missing, it runs at a slower interval than asked, has no rails,
                or nobody knows which rails make up the whole node.
        """
        self.close()
        interval_s = 1 / self._spec.rate_hz
        command = [sys.executable, "-m", "devices.power.jtop_reader", str(interval_s)]
        self._child = LineChild(command, "jtop", interval_s)
        message = _message(self._child.first())
        if message.interval_s > interval_s * 1.01:
            raise DeviceError(
                f"jtop's service runs at {message.interval_s:g} s instead of {interval_s:g} s: its first client sets "
                f"the interval for all. Close the others, or set `rate_hz: {1 / message.interval_s:g}`"
            )
        if not message.rails_mw:
            raise DeviceError("jtop's service shows no power rails on this node")
        model = self._spec.board or board_text(self._root)
        self._rails = printed_rails(message.rails_mw, model, self._spec.rails)
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

    def read(self) -> list[Sample]:
        """A sample for each rail of each update since the previous read.

        Raises:
            DeviceError: not probed, or jtop or its service ended, stalled or lost a rail.
        """
        if self._child is None:
            raise DeviceError("the jtop power source was read before it was probed")
        return [sample for line in self._child.take() for sample in self._samples(line)]

    def self_check(self) -> SelfCheck:
        """Lines left out because they had waited, and whether the sensor's limits on this board are known."""
        return printed_check("jtop", self._rails, self._waited)

    def close(self) -> None:
        """End the process that asks jtop."""
        if self._child:
            self._child.close()
            self._child = None

    def _samples(self, line: Line) -> list[Sample]:
        power_mw = _message(line.text).rails_mw
        if missing := [rail.name for rail in self._rails if rail.name not in power_mw]:
            raise DeviceError(f"jtop no longer shows {', '.join(missing)}")
        if line.t_ns is None:
            self._waited += 1
            return []
        return [Sample(line.t_ns, rail.name, power_mw[rail.name]) for rail in self._rails]


def _message(text: str) -> Message:
    try:
        message = msgspec.json.decode(text, type=Message)
    except msgspec.MsgspecError as error:
        raise DeviceError(f"jtop: what its reader wrote cannot be read ({error}): {text[:100]!r}") from error
    if message.error:
        raise DeviceError(f"jtop: {message.error}")
    return message
