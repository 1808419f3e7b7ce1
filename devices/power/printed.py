"""The rails that a program prints as whole milliwatts: their scopes, and how well they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devices.power.rails import find_board, topology
from devices.power.source import Rail, Scope

PRINTED_MW = 1.0
"""Both tegrastats and jtop print whole milliwatts."""

GAIN = 0.0025
SHUNT_LSB_UV = 40
SHUNT_OFFSET_UV = 80
"""INA3221: largest gain error, step and largest offset of the shunt voltage (TI SBOS576)."""

NOMINAL_MV: Mapping[str, Mapping[str, int]] = {
    "Jetson AGX Orin": {"VDD_GPU_SOC": 20_000, "VDD_CPU_CV": 20_000, "VIN_SYS_5V0": 5_000},
    "Jetson Orin Nano or NX": {"VDD_IN": 5_000, "VDD_CPU_GPU_CV": 5_000, "VDD_SOC": 5_000},
}
"""The voltage at the shunt, by board and rail: the programs print none."""


def printed_rails(found: Iterable[str], model: str, named: Mapping[str, Scope] | None) -> list[Rail]:
    """The rails found, each with its scope and the limits of its error.

    Offset and step in mW are the INA3221's in µV over the shunt, times the voltage. Where shunt or voltage is not known
    (`limits_known`), what stays is the step of the print; the gain holds for every INA3221.

    Args:
        found: the rails in the program's order.
        model: what names the board, as for `topology`.
        named: rails and scopes as the profile names them, which count instead of what is known of the board.

    Raises:
        DeviceError: nobody knows which rails make up the whole node, or one of them is missing.
    """
    scopes = topology(model, found, named)
    return [_rail(name, scope, *_shunt(model, name)) for name, scope in scopes.items()]


def limits_known(rails: Iterable[Rail]) -> bool:
    """Whether offset and step of every rail that is part of the whole are known."""
    return all(rail.offset_mw > 0 for rail in rails if rail.scope != "rail")


def _rail(name: str, scope: Scope, shunt_uohm: int, nominal_mv: int) -> Rail:
    mw_per_uv = nominal_mv / shunt_uohm if shunt_uohm else 0.0
    return Rail(
        name=name,
        scope=scope,
        gain=GAIN,
        offset_mw=SHUNT_OFFSET_UV * mw_per_uv,
        lsb_mw=PRINTED_MW + SHUNT_LSB_UV * mw_per_uv,
    )


def _shunt(model: str, rail: str) -> tuple[int, int]:
    """Shunt in µΩ and voltage in mV; zeros where either is not known."""
    board = find_board(model)
    if board is None:
        return 0, 0
    shunt_uohm, nominal_mv = board.shunt_uohm.get(rail, 0), NOMINAL_MV.get(board.name, {}).get(rail, 0)
    return (shunt_uohm, nominal_mv) if shunt_uohm and nominal_mv else (0, 0)
