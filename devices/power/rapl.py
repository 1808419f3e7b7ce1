"""The energy counters of x86 processors (RAPL) through the kernel's powercap."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability, MeasuredScope, Rail, Scope
from devices.power.counter import EnergyCounter
from devices.power.plausible import MARGIN, SOCKET_MW
from devices.power.rails import topology
from devices.power.source import Sample, SelfCheck, Surroundings
from devices.power.spec import PowerSpec, Share, Text

POWERCAP = Path("sys/class/powercap")

PACKAGE_W = 500.0
"""The greatest rated power of one processor (AMD EPYC 9965, Intel Xeon 6980P), for one that has no constraint files."""

UNLIMITED_UW = 4_000_000_000
"""From here on a power limit says that there is none: firmware sets the register's greatest value, 4,095.875 W (Intel
SDM 14.10.3, 15 bits of 1/8 W)."""

_VALUE_BYTES = 64
_MJ_PER_COUNT = 1e-3  # energy_uj


class _Zone(NamedTuple):
    rail: str
    file: Path
    fd: int
    counter: EnergyCounter


class RaplPower(PowerSpec, frozen=True, kw_only=True, tag="rapl"):
    """An x86 processor's own energy counters, read through the kernel's powercap.

    `gain` is how far they may be off, relative; the maker states nothing, so the profile has to. `rails` gives zones
    their scope in place of the usual ones; those not named are parts.
    """

    gain: Share
    rails: dict[Text, MeasuredScope] = msgspec.field(default_factory=dict)


class RaplSource:
    """Mean power of each zone between two reads.

    A package is the processor with its memory controller; a `dram` zone is the memory, counted beside the package.
    Together they have the scope `module`: what computes, without the board, disks, network, fans and supply. What is
    inside a package (`core`, `uncore`) is a part, and so is `psys`, which covers what the maker of the machine chose; a
    profile that knows may give it the scope `board`.
    """

    Spec = RaplPower

    def __init__(
        self, spec: RaplPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._spec = spec
        self._root = surroundings.root
        self._clock = clock
        self._zones: list[_Zone] = []

    def probe(self) -> Capability:
        """Find the zones and start counting.

        Raises:
            DeviceError: there are none, or they may not be read.
        """
        self.close()
        folders = sorted((self._root / POWERCAP).glob("intel-rapl:*"), key=lambda path: path.name)
        names = {folder.name: _text(folder / "name") for folder in folders}
        if not folders:
            raise DeviceError(
                f"no RAPL zone under {self._root / POWERCAP}; virtual machines have none, and a processor of one's own "
                "needs the module intel_rapl_msr (sudo modprobe intel_rapl_msr)"
            )
        scopes: dict[str, Scope] = {}
        max_mw: dict[str, float] = {}
        for folder in folders:
            parent = folder.name.rpartition(":")[0]
            name = names[folder.name]
            rail = f"{names[parent]}/{name}" if parent in names else name
            inside = parent in names and name != "dram"
            scopes[rail] = "rail" if inside or name == "psys" else "module"
            range_uj = int(_text(folder / "max_energy_range_uj"))
            file = folder / "energy_uj"
            max_mw[rail] = self._spec.max_mw or _max_mw(folder, name, max_mw.get(names.get(parent, ""), 0.0))
            counter = EnergyCounter(_MJ_PER_COUNT, range_uj, max_mw[rail])
            self._zones.append(_Zone(rail, file, _open(file), counter))
        if self._spec.rails:
            scopes = topology("", scopes, self._spec.rails)
        if len(scopes) < len(folders):
            raise DeviceError(f"{self._root / POWERCAP}: two zones bear one name ({', '.join(names.values())})")
        self.read()
        return Capability(
            source="rapl",
            rails=[
                Rail(name=rail, scope=scope, gain=self._spec.gain, max_mw=max_mw[rail])
                for rail, scope in scopes.items()
            ],
            rate_hz_max=1000.0,
            averaging_ms=1000 / self._spec.rate_hz,
            detail={"zones": {zone.rail: zone.file.parent.name for zone in self._zones}},
        )

    def read(self) -> list[Sample]:
        """The mean power of each zone since the previous read.

        Raises:
            DeviceError: not probed, or a zone can no longer be read.
        """
        if not self._zones:
            raise DeviceError("RAPL was read before it was probed")
        samples = []
        for zone in self._zones:
            try:
                text = os.pread(zone.fd, _VALUE_BYTES, 0)
                t_ns = self._clock()
                mean = zone.counter.advance(t_ns, int(text))
            except OSError as error:
                raise DeviceError(f"{zone.file}: zone {zone.rail} cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise DeviceError(f"{zone.file}: zone {zone.rail} reads {text[:20]!r}, which is no number") from error
            if mean is not None:
                samples.append(Sample(mean[0], zone.rail, mean[1]))
        return samples

    def self_check(self) -> SelfCheck:
        """How often a zone's counter began anew."""
        return SelfCheck(
            implausible={zone.rail: zone.counter.left_out for zone in self._zones if zone.counter.left_out}
        )

    def close(self) -> None:
        """Let go of the files."""
        for zone in self._zones:
            os.close(zone.fd)
        self._zones.clear()


def _max_mw(folder: Path, name: str, parent_mw: float) -> float:
    """What a zone can draw at all: from its constraint files, else as the package that it is in."""
    limits = []
    for file in sorted(folder.glob("constraint_*_*_uw")):
        if file.name.endswith(("max_power_uw", "power_limit_uw")):
            try:
                limits.append(int(file.read_text()))
            except (OSError, ValueError):
                continue  # some are there and refuse to be read
    stated_uw = max((limit for limit in limits if 0 < limit < UNLIMITED_UW), default=0)
    if stated_uw:
        return MARGIN * stated_uw / 1000
    if name == "psys":
        return SOCKET_MW
    return parent_mw or MARGIN * PACKAGE_W * 1000


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise DeviceError(
            f"{file}: may not be read; since Linux 5.10 it is root's alone: run the worker as root, or once after each "
            "boot `sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`"
        ) from error
    except OSError as error:
        raise DeviceError(f"{file}: cannot be read: {error.strerror}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise DeviceError(f"{file}: cannot be read: {error.strerror}") from error
