"""A made-up /sys and /proc whose sensors move: every value is a function of the monotonic clock.

`write(t_ns)` sets all values to those of one moment. Inside `with tree.moving():` a thread does so again and again, and
is late where the machine is busy. For a process that is started with the environment of `fresh` no value is old.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FRESH = Path(__file__).with_name("fresh")
Power = Callable[[float], float]
"""mW at a time in ns."""


def triangle(low_mw: float, high_mw: float, period_s: float) -> Power:
    """Up and down in straight lines, so that a trapezoid may be exact."""

    def power(t_ns: float) -> float:
        phase = (t_ns / 1e9 / period_s) % 1
        return low_mw + (high_mw - low_mw) * (2 * phase if phase < 0.5 else 2 - 2 * phase)

    return power


class SimRail(NamedTuple):
    """A rail of the board: its bus voltage, its shunt, and the power that really flows."""

    name: str
    bus_mv: int
    shunt_uohm: int
    power: Power


NOT_CONNECTED = SimRail("NC", 0, 5000, lambda _: 0.0)


class FakeTree:
    """A tree under `root`. Files stay as they are when rewritten, as those of sysfs do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._moving: list[tuple[int, Callable[[int], int]]] = []

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def board(self, model: str, compatible: str = "") -> None:
        self.put("proc/device-tree/model", model + "\0")
        if compatible:
            self.put("proc/device-tree/compatible", compatible.replace(",nvidia", "\0nvidia") + "\0")

    def moves(self, name: str, value: Callable[[int], int]) -> None:
        path = self.put(name, "")
        self._moving.append((os.open(path, os.O_WRONLY), value))
        self._write_one(self._moving[-1], time.monotonic_ns())

    def write(self, t_ns: int) -> None:
        for entry in self._moving:
            self._write_one(entry, t_ns)

    @contextlib.contextmanager
    def moving(self, period_s: float = 0.001) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(period_s):
                self.write(time.monotonic_ns())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def close(self) -> None:
        for fd, _ in self._moving:
            os.close(fd)
        self._moving.clear()

    @staticmethod
    def _write_one(entry: tuple[int, Callable[[int], int]], t_ns: int) -> None:
        fd, value = entry
        # Of one width, so that no reader finds the file shorter than it should be.
        os.pwrite(fd, f"{value(t_ns):>15d}\n".encode(), 0)

    def jetpack4(self, address: str, rails: Sequence[SimRail], *, averaging_ms: float = 0, **files: str) -> None:
        """An INA3221 with NVIDIA's old driver: iio, channels from 0, whole mW."""
        device = f"sys/bus/i2c/drivers/ina3221x/{address}"
        folder = f"{device}/iio:device{address[-1]}"
        self.put(f"{folder}/running_mode", "1\n")
        for n, rail in enumerate(rails):
            shown = averaged(rail.power, averaging_ms)
            self.put(f"{folder}/rail_name_{n}", rail.name + "\n")
            self.put(f"{device}/of_node/channel@{n}/ti,shunt-resistor-mohm", struct.pack(">I", rail.shunt_uohm // 1000))
            self.moves(f"{folder}/in_voltage{n}_input", constant(rail.bus_mv))
            self.moves(f"{folder}/in_power{n}_input", milliwatts(shown))
        for name, text in files.items():
            self.put(f"{folder}/{name}", text)

    def hwmon(self, address: str, number: int, rails: Sequence[SimRail], *, averaging_ms: float = 0) -> None:
        """An INA3221 with Linux's driver: hwmon, channels from 1, mV and mA; in7 is a sum and no rail."""
        folder = f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{number}"
        self.put(f"{folder}/name", "ina3221\n")
        self.put(f"{folder}/samples", "1\n")
        self.put(f"{folder}/update_interval", f"{averaging_ms or 7:.0f}\n")
        self.put(f"{folder}/in7_label", "sum of shunt voltages\n")
        self.put(f"{folder}/in7_input", "123\n")
        for n, rail in enumerate(rails, start=1):
            shown = averaged(rail.power, averaging_ms)
            self.put(f"{folder}/in{n}_label", rail.name + "\n")
            self.put(f"{folder}/in{n}_enable", "1\n")
            self.put(f"{folder}/shunt{n}_resistor", f"{rail.shunt_uohm}\n")
            self.put(f"{folder}/curr{n}_crit_alarm", "0\n")
            self.moves(f"{folder}/in{n}_input", constant(rail.bus_mv))
            self.moves(f"{folder}/curr{n}_input", milliamperes(shown, rail.bus_mv))

    def ina238(self, address: str, number: int, rail: SimRail, *, label: bool = False) -> None:
        """Thor's carrier: one channel, µW; the label may be missing."""
        device = f"sys/bus/i2c/drivers/ina238/{address}"
        folder = f"{device}/hwmon/hwmon{number}"
        self.put(f"{device}/of_node/shunt-resistor", struct.pack(">I", rail.shunt_uohm))
        if label:
            self.put(f"{folder}/in1_label", rail.name + "\n")
        self.moves(f"{folder}/in1_input", constant(rail.bus_mv))
        self.moves(f"{folder}/power1_input", lambda t_ns: round(rail.power(t_ns) * 1000))

    def rapl(self, zone: str, name: str, energy_uj: Callable[[int], int], range_uj: int) -> None:
        """A powercap zone whose counter starts again after `range_uj`."""
        folder = f"sys/class/powercap/{zone}"
        self.put(f"{folder}/name", name + "\n")
        self.put(f"{folder}/max_energy_range_uj", f"{range_uj}\n")
        self.moves(f"{folder}/energy_uj", lambda t_ns: energy_uj(t_ns) % range_uj)


def fresh(fill: Callable[[FakeTree], object], root: Path) -> dict[str, str]:
    """The environment for a process that reads the tree which `fill` makes under `root`, each value as of its reading.

    Its power should move slowly: what flows while that process stalls is known to nobody.
    """
    path = os.pathsep.join([str(FRESH), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return {"FAKE_SYSFS": f"{fill.__module__}:{fill.__name__}:{root}", "PYTHONPATH": path}


def constant(value: int) -> Callable[[int], int]:
    return lambda _: value


def milliwatts(power: Power) -> Callable[[int], int]:
    return lambda t_ns: round(power(t_ns))


def milliamperes(power: Power, bus_mv: int) -> Callable[[int], int]:
    return lambda t_ns: round(power(t_ns) / bus_mv * 1000) if bus_mv else 0


def averaged(power: Power, averaging_ms: float) -> Power:
    """What a chip shows: the mean over the last averaging time that is complete."""
    if not averaging_ms:
        return power
    length_ns = averaging_ms * 1e6

    def shown(t_ns: float) -> float:
        end_ns = t_ns // length_ns * length_ns
        points = [end_ns - length_ns * (k + 0.5) / 32 for k in range(32)]
        return sum(map(power, points)) / len(points)

    return shown


@contextlib.contextmanager
def not_ours(fill: Callable[[FakeTree], object], file: str) -> Iterator[FakeTree]:
    """A tree of which one file may not be read by this process, which is not root meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        tree = FakeTree(Path(name))
        fill(tree)
        (tree.root / file).chmod(0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield tree
        finally:
            os.seteuid(before)
            tree.close()
