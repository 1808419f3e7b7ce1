"""A Jetson's INA3221 and INA238 power monitors: one sample a rail, and how well each is known."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability, MeasuredScope, Rail
from devices.power.ina_channels import DRIVERS, Channel, open_value, read_number, scan
from devices.power.rails import board_limit_mw, board_text, find_board, topology
from devices.power.source import Sample, Surroundings
from devices.power.spec import PowerSpec, Share, Text


class InaPower(PowerSpec, frozen=True, kw_only=True, tag="ina"):
    """A Jetson's own INA3221 and INA238 power monitors, read through sysfs.

    `board` names the board where the device tree does not (None: the device tree's). `rails` gives rails their scope in
    place of what `devices.power.rails` knows of the board; those not named are parts. `shunt_mohm` are shunt resistors
    in place of those that the driver tells. `shunt_tolerance` is their tolerance, which adds to the gain error; NVIDIA
    publishes none, and 0 leaves it out of the interval.
    """

    board: Text | None = None
    rails: dict[Text, MeasuredScope] = msgspec.field(default_factory=dict)
    shunt_mohm: dict[Text, Annotated[float, msgspec.Meta(gt=0, le=1e6)]] = msgspec.field(default_factory=dict)
    shunt_tolerance: Share = 0.0


class InaSource:
    """Reads the rails one after the other, each from files that stay open (a read takes about 0.5 ms on the I2C bus).

    A chip averages and shows the last mean that is complete: on the average that mean's middle lies one averaging
    time before the read, half for the mean and half for its age. A sample is stamped there.
    """

    Spec = InaPower

    def __init__(
        self, spec: InaPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._spec = spec
        self._root = surroundings.root
        self._clock = clock
        self._open: list[tuple[Channel, list[int], int]] = []

    def probe(self) -> Capability:
        """Find the rails, read each once, and say how well they are known.

        Raises:
            DeviceError: there is no sensor, one may not be read, the rails of the total are not there, or a
                shunt is not known.
        """
        self.close()
        channels = list(scan(self._root))
        if not channels:
            raise DeviceError(
                f"no power monitor with a rail under {self._root / DRIVERS} (looked for ina3221x, ina3221, ina238); "
                "a board without one needs another source, such as an external meter"
            )
        names = [channel.rail for channel in channels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DeviceError(f"two rails are named {', '.join(twice)} under {self._root / DRIVERS}")
        model = self._spec.board or board_text(self._root)
        scopes = topology(model, names, self._spec.rails)
        for channel in channels:
            files = [open_value(path, channel.rail) for path in channel.files]
            self._open.append((channel, files, round((channel.averaging_ms or 0) * 1e6)))
        start_ns = self._clock()
        first = {sample.rail: sample.mw for sample in self.read()}
        read_ns = max(1, self._clock() - start_ns)
        rails = []
        for channel in channels:
            gain, offset_mw, lsb_mw, max_mw = self._limits(channel, model, first[channel.rail])
            rails.append(
                Rail(
                    name=channel.rail,
                    scope=scopes[channel.rail],
                    gain=gain,
                    offset_mw=offset_mw,
                    lsb_mw=lsb_mw,
                    max_mw=max_mw,
                )
            )
        averaging_ms = [channel.averaging_ms for channel in channels]
        return Capability(
            source="ina",
            rails=rails,
            rate_hz_max=round(1e9 / read_ns, 1),
            averaging_ms=None if None in averaging_ms else max(ms for ms in averaging_ms if ms is not None),
            detail={"board": model, "rails": {channel.rail: channel.facts for channel in channels}},
        )

    def read(self) -> list[Sample]:
        """One sample per rail.

        Raises:
            DeviceError: not probed, or a rail can no longer be read.
        """
        if not self._open:
            raise DeviceError("the INA power monitors were read before they were probed")
        samples = []
        for channel, files, lag_ns in self._open:
            before_ns = self._clock()
            mw = channel.scale
            for path, file in zip(channel.files, files, strict=True):
                mw *= read_number(path, file, channel.rail)
            samples.append(Sample((before_ns + self._clock()) // 2 - lag_ns, channel.rail, mw))
        return samples

    def close(self) -> None:
        """Let go of the files."""
        for _, files, _ in self._open:
            for file in files:
                os.close(file)
        self._open.clear()

    def _limits(self, channel: Channel, model: str, mw: float) -> tuple[float, float, float, float]:
        """Gain (relative), offset and step (mW) of one rail, at the voltage and current it has now; its most (mW).

        The power is V · U / R: a step or offset of the shunt's voltage U counts V/R times, one of the bus voltage V
        current times. The two steps are independent, so they add as squares. The most is the module's limit, or the
        chip's full scale where that is less or nobody knows the board.
        """
        board = find_board(model)
        named, told = self._spec.shunt_mohm.get(channel.rail), channel.shunt_uohm
        shunt_uohm = named * 1000 if named else told or (board.shunt_uohm.get(channel.rail) if board else None)
        if shunt_uohm is None:
            raise DeviceError(
                f"the shunt resistor of rail {channel.rail} is told neither by its driver nor by the device tree, so "
                f"the error of its power is not known; name it in the profile: shunt_mohm: {{{channel.rail}: …}}"
            )
        file = open_value(channel.bus_mv, channel.rail)
        try:
            bus_mv = read_number(channel.bus_mv, file, channel.rail)
        finally:
            os.close(file)
        chip = channel.chip
        # mV · µV / µΩ = mV · A, that is mW.
        offset_mw = abs(bus_mv) * chip.shunt_offset_uv / shunt_uohm
        amperes = abs(mw / bus_mv) if bus_mv else 0.0
        lsb_mw = math.hypot(abs(bus_mv) * chip.shunt_lsb_uv / shunt_uohm, amperes * chip.bus_lsb_mv)
        channel.facts.update(
            chip=chip.name,
            file=str(channel.files[-1].relative_to(self._root)),
            shunt_uohm=shunt_uohm,
            bus_mv=bus_mv,
            averaging_ms=channel.averaging_ms,
        )
        full_mw = chip.bus_range_mv * chip.shunt_range_uv / shunt_uohm
        max_mw = min(full_mw, board_limit_mw(model)) if board else full_mw
        return chip.gain + self._spec.shunt_tolerance, offset_mw, lsb_mw, max_mw
