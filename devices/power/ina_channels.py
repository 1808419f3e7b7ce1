"""The channels of a Jetson's INA3221 and INA238 power monitors in sysfs, from JetPack 4 (iio) to 7 (hwmon)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from devices.base.errors import DeviceError

DRIVERS = Path("sys/bus/i2c/drivers")

NOT_CONNECTED = "NC"
"""The label of a channel that measures nothing."""

_VALUE_BYTES = 64


class Chip(NamedTuple):
    """How well a chip measures: steps and greatest offset in µV and mV, gain error relative; and its full scale."""

    name: str
    shunt_lsb_uv: float
    shunt_offset_uv: float
    bus_lsb_mv: float
    gain: float
    shunt_range_uv: float
    bus_range_mv: float


INA3221 = Chip(
    "ina3221",
    shunt_lsb_uv=40,
    shunt_offset_uv=80,
    bus_lsb_mv=8,
    gain=0.0025,
    shunt_range_uv=163_800,
    bus_range_mv=26_000,
)
"""TI SBOS576, electrical characteristics."""

INA238 = Chip(
    "ina238",
    shunt_lsb_uv=5,
    shunt_offset_uv=5,
    bus_lsb_mv=3.125,
    gain=0.001,
    shunt_range_uv=163_840,
    bus_range_mv=85_000,
)
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
class Channel:
    """One rail as sysfs shows it: its power in mW is the product of `files` times `scale`."""

    rail: str
    chip: Chip
    files: tuple[Path, ...]
    scale: float
    bus_mv: Path
    shunt_uohm: float | None
    averaging_ms: float | None
    facts: dict[str, Any] = field(default_factory=dict)


def scan(root: Path) -> Iterator[Channel]:
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


def _iio(folder: Path) -> Iterator[Channel]:
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
        yield Channel(
            rail=rail,
            chip=INA3221,
            files=(folder / f"in_power{n}_input",),
            scale=1.0,
            bus_mv=folder / f"in_voltage{n}_input",
            shunt_uohm=None if shunt_mohm is None else shunt_mohm * 1000,
            averaging_ms=averaging_ms,
            facts={"mode": "triggered" if triggered else "continuous"},
        )


def _hwmon(folder: Path) -> Iterator[Channel]:
    """JetPack 5 and later: Linux's ina3221 driver, channels from 1; its in7 is a sum of shunt voltages, no rail."""
    interval_ms, averages = _integer(folder / "update_interval"), _integer(folder / "samples")
    # Since "hwmon: (ina3221) Use CVRF only for single-shot" the interval leaves the averages out. An older kernel has
    # them in it; with the one average that is the default both are the same, else this is the longer of the two.
    averaging_ms = None if interval_ms is None or averages is None else float(interval_ms * averages)
    for n in range(1, 4):
        rail = _text(folder / f"in{n}_label")
        if rail is None or rail == NOT_CONNECTED or _text(folder / f"in{n}_enable") == "0":
            continue
        yield Channel(
            rail=rail,
            chip=INA3221,
            files=(folder / f"in{n}_input", folder / f"curr{n}_input"),
            scale=1e-3,  # mV · mA = µW
            bus_mv=folder / f"in{n}_input",
            shunt_uohm=_integer(folder / f"shunt{n}_resistor"),
            averaging_ms=averaging_ms,
            facts={"samples": averages, "update_interval_ms": interval_ms},
        )


def _hwmon_ina238(folder: Path) -> Iterator[Channel]:
    """Thor's carrier: Linux's ina238 driver, one channel; where it bears no label it is the input, VIN."""
    shunt_uohm = _device_tree_number(folder.parent.parent / "of_node" / "shunt-resistor")
    interval_ms, averages = _integer(folder / "update_interval"), _integer(folder / "samples")
    yield Channel(
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


def open_value(path: Path, rail: str) -> int:
    """A file of sysfs, opened once for many reads.

    Raises:
        DeviceError: it cannot be read, with the reason.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise DeviceError(f"{path}: rail {rail} may not be read; {_MAY_NOT}") from error
    except OSError as error:
        raise DeviceError(f"{path}: rail {rail} cannot be read: {error.strerror}") from error


def read_number(path: Path, file: int, rail: str) -> int:
    """The present value of an open file.

    Raises:
        DeviceError: it can no longer be read, or holds no number.
    """
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
