"""Power as NVIDIA's `tegrastats` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability
from devices.power.printed import PrintedPower, PrintedSource, quote
from devices.power.source import Surroundings
from devices.power.spec import Text
from devices.tegrastats import parse


class TegrastatsPower(PrintedPower, frozen=True, kw_only=True, tag="tegrastats"):
    """NVIDIA's tegrastats, run by the sampler; `--interval` is added to `command`, in whole ms.

    `board` names the board where the device tree does not (None: the device tree's). `rails` gives rails their scope in
    place of what `devices.power.rails` knows of the board; those not named are parts.
    """

    # One line a second is tegrastats' own interval; a read of four rails takes a few ms.
    rate_hz: Annotated[float, msgspec.Meta(ge=1, le=100)]
    command: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] = ("tegrastats",)


class TegrastatsSource(PrintedSource):
    """The first value of each rail on every line: the present power. The second is a mean since tegrastats started."""

    Spec = TegrastatsPower

    program = "tegrastats"

    def __init__(self, spec: TegrastatsPower, surroundings: Surroundings) -> None:
        super().__init__(spec, surroundings)
        self._spec = spec

    def probe(self) -> Capability:
        """Start tegrastats and read its first line.

        Raises:
            DeviceError: it cannot be started, prints nothing, no line of its own or no power, or nobody knows which
                rails make up the whole node.
        """
        interval_ms = round(1000 / self._spec.rate_hz)
        command = [*self._spec.command, "--interval", str(interval_ms)]
        power_mw = self._power_mw(self._start(command, interval_ms / 1000))
        if not power_mw:
            raise DeviceError(
                "tegrastats prints no power here; some L4T releases print it to root alone: let it run as root "
                "(`command: [sudo, -n, tegrastats]`) or use `source: ina`"
            )
        model = self._find_rails(power_mw)
        return Capability(
            source="tegrastats",
            rails=self._rails,
            rate_hz_max=None,
            averaging_ms=None,
            detail={
                "board": model,
                "command": command,
                "interval_ms": interval_ms,
                "stamp": "arrival of the line; the sensor was read before it was printed",
                "averaging": "tegrastats prints the driver's reading; over how long the sensor averages is not known",
            },
        )

    def _power_mw(self, text: str) -> Mapping[str, float]:
        reading = parse(text)
        if reading is None:
            raise DeviceError(f"tegrastats printed what is no line of its own: {quote(text)}")
        return reading.power_mw
