"""Power sources that are a program which prints the power of each rail, in whole milliwatts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import MeasuredScope, Rail, Scope
from devices.power.child import Line, LineChild
from devices.power.ina_channels import INA3221
from devices.power.rails import board_limit_mw, board_text, find_board, topology
from devices.power.source import Sample, SelfCheck, Surroundings
from devices.power.spec import PowerSpec, Text

PRINTED_MW = 1.0
"""Both tegrastats and jtop print whole milliwatts."""

NOMINAL_MV: Mapping[str, Mapping[str, int]] = {
    "Jetson AGX Orin": {"VDD_GPU_SOC": 20_000, "VDD_CPU_CV": 20_000, "VIN_SYS_5V0": 5_000},
    "Jetson Orin Nano or NX": {"VDD_IN": 5_000, "VDD_CPU_GPU_CV": 5_000, "VDD_SOC": 5_000},
}
"""The voltage at the shunt, by board and rail, because tegrastats prints none."""


class PrintedPower(PowerSpec, frozen=True, kw_only=True):
    """What the specs of the two have in common.

    `board` names the board where the device tree does not (None: the device tree's). `rails` gives rails their scope in
    place of what `devices.power.rails` knows of the board; those not named are parts.
    """

    board: Text | None = None
    rails: dict[Text, MeasuredScope] = msgspec.field(default_factory=dict)


class PrintedSource(ABC):
    """What the two have in common: a child whose lines each hold the present power of every rail.

    A line that had waited, because this process stood still, has no time of its own: it is left out and counted.
    """

    program: ClassVar[str]

    def __init__(self, spec: PrintedPower, surroundings: Surroundings) -> None:
        self._root = surroundings.root
        self._board, self._named = spec.board, spec.rails
        self._child: LineChild | None = None
        self._rails: list[Rail] = []
        self._waited = 0

    def read(self) -> list[Sample]:
        """A sample for each rail of each line that arrived since the previous read.

        Raises:
            DeviceError: not probed, or the program ended, stalled, printed no line of its own or lost a rail.
        """
        if self._child is None:
            raise DeviceError(f"the {self.program} power source was read before it was probed")
        return [sample for line in self._child.take() for sample in self._samples(line)]

    def self_check(self) -> SelfCheck:
        """Lines left out because they had waited, and whether the sensor's limits on this board are known."""
        unknown = [rail.name for rail in self._rails if rail.scope != "rail" and not rail.offset_mw]
        warning = (
            f"{self.program}: offset and step of {', '.join(unknown)} on this board are not known, "
            f"so the interval of the energy holds the gain error ({INA3221.gain:.2%}) and the print's step alone"
        )
        return SelfCheck(detail={"lines_without_time": self._waited}, warnings=[warning] if unknown else [])

    def close(self) -> None:
        """End the program."""
        if self._child:
            self._child.close()
            self._child = None

    @abstractmethod
    def _power_mw(self, text: str) -> Mapping[str, float]:
        """The present power of each rail in a line.

        Raises:
            DeviceError: it is no line of the program's own.
        """

    def _start(self, command: Sequence[str], interval_s: float) -> str:
        """Start the program; returns its first line."""
        self.close()
        self._child = LineChild(command, self.program, interval_s)
        return self._child.first()

    def _find_rails(self, power_mw: Mapping[str, float]) -> str:
        """Settle which rails there are, each with its scope and the limits of its error; returns the board.

        Where shunt and voltage are known, offset and step are the INA3221's, as in `devices.power.ina`. Where they are
        not, the offset is left at 0 and the step at the print's, and `self_check` says so. The gain holds for every
        INA3221.

        Raises:
            DeviceError: nobody knows which rails make up the whole node, or one of them is missing.
        """
        model = self._board or board_text(self._root)
        scopes = topology(model, power_mw, self._named)
        self._rails = [_rail(name, scope, model, power_mw[name]) for name, scope in scopes.items()]
        return model

    def _samples(self, line: Line) -> list[Sample]:
        power_mw = self._power_mw(line.text)
        if missing := [rail.name for rail in self._rails if rail.name not in power_mw]:
            raise DeviceError(f"{self.program} no longer gives {', '.join(missing)}: {quote(line.text)}")
        if line.t_ns is None:
            self._waited += 1
            return []
        return [Sample(line.t_ns, rail.name, power_mw[rail.name]) for rail in self._rails]


def quote(text: str) -> str:
    """A line for an error message."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


def _rail(name: str, scope: Scope, model: str, mw: float) -> Rail:
    board, max_mw = find_board(model), board_limit_mw(model)
    shunt_uohm = board.shunt_uohm.get(name) if board else None
    nominal_mv = NOMINAL_MV.get(board.name, {}).get(name) if board else None
    if not shunt_uohm or not nominal_mv:
        return Rail(name=name, scope=scope, gain=INA3221.gain, lsb_mw=PRINTED_MW, max_mw=max_mw)
    # mV · µV / µΩ = mV · A, that is mW.
    step_mw = math.hypot(nominal_mv * INA3221.shunt_lsb_uv / shunt_uohm, abs(mw / nominal_mv) * INA3221.bus_lsb_mv)
    return Rail(
        name=name,
        scope=scope,
        gain=INA3221.gain,
        offset_mw=nominal_mv * INA3221.shunt_offset_uv / shunt_uohm,
        lsb_mw=PRINTED_MW + step_mw,
        max_mw=max_mw,
    )
