"""Reads a line of NVIDIA's `tegrastats`, of every L4T release since 21."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from devices.power.rails import BOARDS

ZONE_OFF_C = -256.0
"""What tegrastats prints for the temperature of a zone that is switched off."""

WHOLE: tuple[tuple[str, ...], ...] = tuple(dict.fromkeys(total.rails for board in BOARDS for total in board.totals))
"""Rails that add up to a whole node. The first set that a line prints in full counts: a line names no board."""

# Bounded, because int() refuses numbers of thousands of digits.
_INT = r"[0-9]{1,9}"
_MW = rf"(-?{_INT})(?:mW)?"
# A field begins after a space or at the line's start and ends before a space or at its end.
_BEGIN, _END = r"(?<!\S)", r"(?!\S)"

_TIMESTAMP = re.compile(
    r"\s*([0-9]{2})-([0-9]{2})-([0-9]{4})\s+([0-9]{2}):([0-9]{2}):([0-9]{2})" + _END,
    re.ASCII,
)
_RAM = re.compile(rf"{_BEGIN}RAM\s+({_INT})/({_INT})MB(?:\s*\(lfb ({_INT})x{_INT}[kM]B\))?{_END}", re.ASCII)
_SWAP = re.compile(rf"{_BEGIN}SWAP\s+({_INT})/({_INT})MB(?:\s*\(cached ({_INT})MB\))?{_END}", re.ASCII)
_CPU = re.compile(rf"{_BEGIN}(?:CPU|cpu)\s+\[([^\[\]]*)\](?:@({_INT}))?{_END}", re.ASCII)
_CORE = re.compile(rf"(?:({_INT})%(?:@({_INT}))?|off)", re.ASCII)
_ENGINE = rf"(?:_FREQ)?\s+(?=[0-9@])(?:({_INT})%)?(?:@(?:({_INT})|\[({_INT}(?:,{_INT})*)\]))?{_END}"
_EMC = re.compile(rf"{_BEGIN}EMC{_ENGINE}", re.ASCII)
_GR3D = re.compile(rf"{_BEGIN}GR3D{_ENGINE}", re.ASCII)
_TEMPERATURE = re.compile(
    rf"{_BEGIN}([A-Za-z][\w-]*)@(-?{_INT}(?:\.{_INT})?)C(?:/-?{_INT}(?:\.{_INT})?C)?{_END}", re.ASCII
)
_RAIL = re.compile(rf"{_BEGIN}([A-Za-z]\w*)\s+{_MW}/{_MW}(?:/{_MW})?{_END}", re.ASCII)
_NO_RAILS = frozenset({"RAM", "IRAM", "SWAP"})
_UNCONNECTED = "NC"


@dataclass(frozen=True)
class Reading:
    """What one line says; None, or nothing in a mapping or tuple, where it does not say.

    `timestamp` is the board's local time, without a zone. `cpu_load_pct` and `cpu_freq_mhz` hold a value per core, None
    for a core that is off. `gr3d_freq_mhz` holds one per GPU cluster. `temps_c` holds None for a zone that is off.
    `rails_mw` holds every value printed for a rail: the present power, the mean since tegrastats started (which says
    nothing of now), from L4T 39.2 on also the maximum. Power may be negative. `nc_rails` counts unconnected channels.
    """

    timestamp: datetime | None
    ram_used_mb: int | None
    ram_total_mb: int | None
    lfb_blocks: int | None
    swap_used_mb: int | None
    swap_total_mb: int | None
    swap_cached_mb: int | None
    cpu_load_pct: tuple[int | None, ...] | None
    cpu_freq_mhz: tuple[int | None, ...] | None
    emc_load_pct: int | None
    emc_freq_mhz: int | None
    gr3d_load_pct: int | None
    gr3d_freq_mhz: tuple[int, ...]
    temps_c: dict[str, float | None]
    rails_mw: dict[str, tuple[int, ...]]
    nc_rails: int

    @property
    def power_mw(self) -> dict[str, int]:
        """Each rail's present power, in mW."""
        return {rail: values[0] for rail, values in self.rails_mw.items()}

    @property
    def whole(self) -> tuple[str, ...] | None:
        """The rails that add up to the whole node; None where the line prints no such set."""
        return next((rails for rails in WHOLE if self.rails_mw.keys() >= set(rails)), None)

    @property
    def total_mw(self) -> int | None:
        """The whole node's present power, in mW, without what a carrier board or supply draws before those rails."""
        return None if self.whole is None else sum(self.power_mw[rail] for rail in self.whole)


def parse(line: str) -> Reading | None:
    """Read one line; None if it is no line of tegrastats, or two that ran together. Raises nothing.

    A line counts as tegrastats' if it has a legible RAM, CPU, EMC or GR3D field, so one whose head was cut off does.
    """
    # A log is padded with NUL where the board lost power while writing.
    line = line.strip("\0")
    rams = _RAM.findall(line)
    cpu, emc, gr3d = _CPU.search(line), _EMC.search(line), _GR3D.search(line)
    rails = [found for found in _RAIL.findall(line) if found[0] not in _NO_RAILS]
    names = [name for name, *_ in rails if name != _UNCONNECTED]
    if not (rams or cpu or emc or gr3d) or len(rams) > 1 or len(set(names)) < len(names):
        return None
    ram_used, ram_total, lfb = rams[0] if rams else (None, None, None)
    swap = _SWAP.search(line)
    loads, frequencies = _cores(cpu) if cpu else (None, None)
    emc_load, emc_mhz = _engine(emc)
    gr3d_load, gr3d_mhz = _engine(gr3d)
    return Reading(
        timestamp=_timestamp(line),
        ram_used_mb=_int(ram_used),
        ram_total_mb=_int(ram_total),
        lfb_blocks=_int(lfb),
        swap_used_mb=_int(swap[1]) if swap else None,
        swap_total_mb=_int(swap[2]) if swap else None,
        swap_cached_mb=_int(swap[3]) if swap else None,
        cpu_load_pct=loads,
        cpu_freq_mhz=frequencies,
        emc_load_pct=emc_load,
        emc_freq_mhz=emc_mhz[0] if emc_mhz else None,
        gr3d_load_pct=gr3d_load,
        gr3d_freq_mhz=gr3d_mhz,
        temps_c={name: _celsius(value) for name, value in _TEMPERATURE.findall(line)},
        rails_mw={
            name: tuple(int(value) for value in values if value) for name, *values in rails if name != _UNCONNECTED
        },
        nc_rails=len(rails) - len(names),
    )


def _timestamp(line: str) -> datetime | None:
    found = _TIMESTAMP.match(line)
    if not found:
        return None
    month, day, year, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _cores(cpu: re.Match[str]) -> tuple[tuple[int | None, ...], tuple[int | None, ...]] | tuple[None, None]:
    """Load and clock per core; before L4T 28 one clock, behind the bracket, holds for all."""
    cores = [_CORE.fullmatch(text.strip()) for text in cpu[1].split(",")]
    found = [core for core in cores if core]
    if len(found) < len(cores):
        return None, None
    loads = tuple(_int(core[1]) for core in found)
    shared = _int(cpu[2])
    return loads, tuple(None if core[1] is None else _int(core[2]) or shared for core in found)


def _engine(found: re.Match[str] | None) -> tuple[int | None, tuple[int, ...]]:
    """Load and clocks of EMC or GR3D."""
    if not found:
        return None, ()
    return _int(found[1]), tuple(map(int, (found[2] or found[3]).split(","))) if found[2] or found[3] else ()


def _celsius(text: str) -> float | None:
    celsius = float(text)
    return celsius if celsius > ZONE_OFF_C else None


def _int(text: str | None) -> int | None:
    return int(text) if text else None
