"""The rails that a program prints as whole milliwatts: their scopes, and how well they are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from devices.power.ina import INA3221
from devices.power.rails import find_board, topology
from devices.power.source import Rail, Scope, SelfCheck

PRINTED_MW = 1.0
"""Both tegrastats and jtop print whole milliwatts."""

NOMINAL_MV: Mapping[str, Mapping[str, int]] = {
    "Jetson AGX Orin": {"VDD_GPU_SOC": 20_000, "VDD_CPU_CV": 20_000, "VIN_SYS_5V0": 5_000},
    "Jetson Orin Nano or NX": {"VDD_IN": 5_000, "VDD_CPU_GPU_CV": 5_000, "VDD_SOC": 5_000},
}
"""The voltage at the shunt, by board and rail, because tegrastats prints none."""


def printed_rails(power_mw: Mapping[str, float], model: str, named: Mapping[str, Scope]) -> list[Rail]:
    """The rails found, each with its scope and the limits of its error.

    Where shunt and voltage are known, offset and step are the INA3221's, as in `devices.power.ina`. Where they are not,
    the offset is left at 0 and the step at the print's, and `printed_check` says so. The gain holds for every INA3221.

    Args:
        power_mw: the program's first reading.
        model: what names the board, as for `topology`.
        named: rails and scopes as the profile names them, which count instead of what is known of the board.

    Raises:
        DeviceError: nobody knows which rails make up the whole node, or one of them is missing.
    """
    scopes = topology(model, power_mw, named)
    return [_rail(name, scope, model, power_mw[name]) for name, scope in scopes.items()]


def printed_check(program: str, rails: Iterable[Rail], waited: int) -> SelfCheck:
    """What is to be said of a program's readings.

    Args:
        program: its name.
        rails: what `printed_rails` gave.
        waited: lines that came together with a later one, so that nobody knows their time; they are left out.
    """
    unknown = [rail.name for rail in rails if rail.scope != "rail" and not rail.offset_mw]
    warning = (
        f"{program}: offset and step of {', '.join(unknown)} on this board are not known, "
        f"so the interval of the energy holds the gain error ({INA3221.gain:.2%}) and the print's step alone"
    )
    return SelfCheck(detail={"lines_without_time": waited}, warnings=[warning] if unknown else [])


def _rail(name: str, scope: Scope, model: str, mw: float) -> Rail:
    board = find_board(model)
    shunt_uohm = board.shunt_uohm.get(name) if board else None
    nominal_mv = NOMINAL_MV.get(board.name, {}).get(name) if board else None
    if not shunt_uohm or not nominal_mv:
        return Rail(name=name, scope=scope, gain=INA3221.gain, lsb_mw=PRINTED_MW)
    # mV · µV / µΩ = mV · A, that is mW.
    step_mw = math.hypot(nominal_mv * INA3221.shunt_lsb_uv / shunt_uohm, abs(mw / nominal_mv) * INA3221.bus_lsb_mv)
    return Rail(
        name=name,
        scope=scope,
        gain=INA3221.gain,
        offset_mw=nominal_mv * INA3221.shunt_offset_uv / shunt_uohm,
        lsb_mw=PRINTED_MW + step_mw,
    )
