"""A Jetson's INA3221 and INA238 power monitors through sysfs, from JetPack 4 (iio) to 7 (hwmon)."""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from devices.base.errors import DeviceError
from devices.base.power import Capability, Rail
from devices.power.rails import board_text, find_board, topology
from devices.power.source import Sample, Surroundings
from devices.profile import InaPower

DRIVERS = Path("sys/bus/i2c/drivers")

NOT_CONNECTED = "NC"
"""The label of a channel that measures nothing."""

_VALUE_BYTES = 64


class Chip(NamedTuple):
    """How well a chip measures: steps and greatest offset in µV and mV, gain error relative."""

    name: str
    shunt_lsb_uv: float
    shunt_offset_uv: float
    bus_lsb_mv: float
    gain: float


INA3221 = Chip("ina3221", shunt_lsb_uv=40, shunt_offset_uv=80, bus_lsb_mv=8, gain=0.0025)
"""TI SBOS576, electrical characteristics."""

INA238 = Chip("ina238", shunt_lsb_uv=5, shunt_offset_uv=5, bus_lsb_mv=3.125, gain=0.001)
"""TI SBOSA20, electrical characteristics, at the wide range of the shunt (±163.84 mV) that the driver sets."""

INA238_SHUNT_UOHM = 2_500
"""Where the device tree names no shunt, Linux's ina238 driver reckons with 10 or, in newer kernels, 2.5 mΩ
(INA238_RSHUNT_DEFAULT): the smaller one gives the wider limits."""

INA238_AVERAGING_MS = 16 * 3 * 1.052
"""Linux's ina238 driver sets 16 averages of 1052 µs each for bus, shunt and temperature (INA238_ADC_CONFIG_DEFAULT)."""

_INA3221_AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)
_INA3221_CONVERSION_US = (140, 204, 332, 588, 1100, 2116, 4156, 8244)
_L4T_CONTINUOUS = 0x7727
_L4T_TRIGGERED = 0x7003


def ina3221_averaging_ms(config: int) -> float:
    """The time of one cycle over all channels that are on, from the configuration register (TI SBOS576, table 5)."""
    channels = (config >> 12 & 7).bit_count()
    averages = _INA3221_AVERAGES[config >> 9 & 7]
    conversions_us = _INA3221_CONVERSION_US[config >> 6 & 7] + _INA3221_CONVERSION_US[config >> 3 & 7]
    return channels * averages * conversions_us / 1000


@dataclass
class _Channel:
    """One rail as sysfs shows it: its power in mW is the product of `files` times `scale`."""

    rail: str
    chip: Chip
    files: tuple[Path, ...]
    scale: float
    bus_mv: Path
    shunt_uohm: float | None
    averaging_ms: float | None
    facts: dict[str, Any] = field(default_factory=dict)


class InaSource:
    """Reads the rails one after the other, each from files that stay open (a read takes about 0.5 ms on the I2C bus).

    A chip averages and shows the last mean that is complete: on the average that mean's middle lies one averaging
    time before the read, half for the mean and half for its age. A sample is stamped there.
    """

    def __init__(
        self, spec: InaPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._spec = spec
        self._root = surroundings.root
        self._clock = clock
        self._open: list[tuple[_Channel, list[int], int]] = []

    def probe(self) -> Capability:
        """Find the rails, read each once, and say how well they are known.

        Raises:
            DeviceError: there is no sensor, one may not be read, the rails of the total are not there, or a
                shunt is not known.
        """
        self.close()
        channels = list(_scan(self._root))
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
            files = [_open(path, channel.rail) for path in channel.files]
            self._open.append((channel, files, round((channel.averaging_ms or 0) * 1e6)))
        start_ns = self._clock()
        first = {sample.rail: sample.mw for sample in self.read()}
        read_ns = max(1, self._clock() - start_ns)
        rails = []
        for channel in channels:
            gain, offset_mw, lsb_mw = self._limits(channel, model, first[channel.rail])
            rails.append(
                Rail(name=channel.rail, scope=scopes[channel.rail], gain=gain, offset_mw=offset_mw, lsb_mw=lsb_mw)
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
                mw *= _number(path, file, channel.rail)
            samples.append(Sample((before_ns + self._clock()) // 2 - lag_ns, channel.rail, mw))
        return samples

    def close(self) -> None:
        """Let go of the files."""
        for _, files, _ in self._open:
            for file in files:
                os.close(file)
        self._open.clear()

    def _limits(self, channel: _Channel, model: str, mw: float) -> tuple[float, float, float]:
        """Gain (relative), offset and step (mW) of one rail, at the voltage and current it has now.

        The power is V · U / R: a step or offset of the shunt's voltage U counts V/R times, one of the bus voltage V
        current times. The two steps are independent, so they add as squares.
        """
        board = find_board(model)
        named, told = self._spec.shunt_mohm.get(channel.rail), channel.shunt_uohm
        shunt_uohm = named * 1000 if named else told or (board.shunt_uohm.get(channel.rail) if board else None)
        if shunt_uohm is None:
            raise DeviceError(
                f"the shunt resistor of rail {channel.rail} is told neither by its driver nor by the device tree, so "
                f"the error of its power is not known; name it in the profile: shunt_mohm: {{{channel.rail}: …}}"
            )
        file = _open(channel.bus_mv, channel.rail)
        try:
            bus_mv = _number(channel.bus_mv, file, channel.rail)
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
        return chip.gain + self._spec.shunt_tolerance, offset_mw, lsb_mw


def _scan(root: Path) -> Iterator[_Channel]:
    """Every connected channel, by driver and bus address, which unlike hwmon numbers do not change between boots."""
    drivers = root / DRIVERS
    # The monitors' driver may not be read: that is another finding than no monitor.
    for name in ("ina3221x", "ina3221", "ina238"):
        folder = drivers / name
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            raise DeviceError(f"{folder}: may not be read; {_MAY_NOT}")
    for folder in sorted((drivers / "ina3221x").glob("*/iio:device*")):
        yield from _iio(folder)
    for folder in sorted((drivers / "ina3221").glob("*/hwmon/hwmon*")):
        yield from _hwmon(folder)
    for folder in sorted((drivers / "ina238").glob("*/hwmon/hwmon*")):
        yield from _hwmon_ina238(folder)


def _iio(folder: Path) -> Iterator[_Channel]:
    """JetPack 4: NVIDIA's own driver (nvidia/drivers/staging/iio/meter/ina3221.c), channels from 0."""
    device_tree = folder.parent / "of_node"
    # It converts all the time, or once for each read. The device tree may set how, else the driver's defaults count.
    triggered = _text(folder / "running_mode") == "0"
    config = _device_tree_number(device_tree / ("ti,trigger-config" if triggered else "ti,continuous-config"))
    averaging_ms = ina3221_averaging_ms(config or (_L4T_TRIGGERED if triggered else _L4T_CONTINUOUS))
    for n in range(3):
        rail = _text(folder / f"rail_name_{n}")
        if rail is None or rail == NOT_CONNECTED:
            continue
        shunt_mohm = _device_tree_number(device_tree / f"channel@{n}" / "ti,shunt-resistor-mohm")
        yield _Channel(
            rail=rail,
            chip=INA3221,
            files=(folder / f"in_power{n}_input",),
            scale=1.0,
            bus_mv=folder / f"in_voltage{n}_input",
            shunt_uohm=None if shunt_mohm is None else shunt_mohm * 1000,
            averaging_ms=averaging_ms,
            facts={"mode": "triggered" if triggered else "continuous"},
        )


def _hwmon(folder: Path) -> Iterator[_Channel]:
    """JetPack 5 and later: Linux's ina3221 driver, channels from 1; its in7 is a sum of shunt voltages, no rail."""
    interval_ms, averages = _integer(folder / "update_interval"), _integer(folder / "samples")
    # Since "hwmon: (ina3221) Use CVRF only for single-shot" the interval leaves the averages out. An older kernel has
    # them in it; with the one average that is the default both are the same, else this is the longer of the two.
    averaging_ms = None if interval_ms is None or averages is None else float(interval_ms * averages)
    for n in range(1, 4):
        rail = _text(folder / f"in{n}_label")
        if rail is None or rail == NOT_CONNECTED or _text(folder / f"in{n}_enable") == "0":
            continue
        yield _Channel(
            rail=rail,
            chip=INA3221,
            files=(folder / f"in{n}_input", folder / f"curr{n}_input"),
            scale=1e-3,  # mV · mA = µW
            bus_mv=folder / f"in{n}_input",
            shunt_uohm=_integer(folder / f"shunt{n}_resistor"),
            averaging_ms=averaging_ms,
            facts={"samples": averages, "update_interval_ms": interval_ms},
        )


def _hwmon_ina238(folder: Path) -> Iterator[_Channel]:
    """Thor's carrier: Linux's ina238 driver, one channel; where it bears no label it is the input, VIN."""
    shunt_uohm = _device_tree_number(folder.parent.parent / "of_node" / "shunt-resistor")
    interval_ms, averages = _integer(folder / "update_interval"), _integer(folder / "samples")
    yield _Channel(
        rail=_text(folder / "in1_label") or _text(folder / "label") or "VIN",
        chip=INA238,
        files=(folder / "power1_input",),
        scale=1e-3,  # µW
        bus_mv=folder / "in1_input",
        shunt_uohm=shunt_uohm or INA238_SHUNT_UOHM,
        averaging_ms=float(interval_ms) if interval_ms is not None else INA238_AVERAGING_MS,
        facts={"samples": averages, "update_interval_ms": interval_ms},
    )


_MAY_NOT = "run the worker as root, or let its user read the file (docs/power.md)"


def _open(path: Path, rail: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise DeviceError(f"{path}: rail {rail} may not be read; {_MAY_NOT}") from error
    except OSError as error:
        raise DeviceError(f"{path}: rail {rail} cannot be read: {error.strerror}") from error


def _number(path: Path, file: int, rail: str) -> int:
    try:
        # From the start: sysfs makes the value anew.
        text = os.pread(file, _VALUE_BYTES, 0)
    except OSError as error:
        raise DeviceError(f"{path}: rail {rail} cannot be read: {error.strerror}") from error
    try:
        return int(text)
    except ValueError as error:
        raise DeviceError(f"{path}: rail {rail} reads {text[:20]!r}, which is no number") from error


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except PermissionError as error:
        raise DeviceError(f"{path}: may not be read; {_MAY_NOT}") from error
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None


def _device_tree_number(path: Path) -> int | None:
    """A 32-bit cell of the device tree, which is big-endian."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return int(struct.unpack(">I", data)[0]) if len(data) == 4 else None
