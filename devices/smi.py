"""What `nvidia-smi` tells of each GPU, and how it says that it has done what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from devices.base.errors import DeviceError
from devices.machine import Machine

DONE = (0, 14)
"""Exit codes after which all was done. 14 warns of a corrupt infoROM, as after an ECC error (nvidia-smi(1))."""


def query(machine: Machine, fields: Sequence[str], *more: str) -> list[list[str]]:
    """The values of fields, as text, a row for each GPU; empty where nvidia-smi is not there or refuses.

    Args:
        machine: whose GPUs.
        fields: as `nvidia-smi --help-query-gpu` names them; a driver that lacks one refuses all.
        more: formats beside `csv,noheader`.
    """
    if machine.command("nvidia-smi") is None:
        return []
    try:
        done = machine.run(
            "nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=" + ",".join(["csv", "noheader", *more])
        )
    except DeviceError:
        return []
    rows = [[value.strip() for value in line.split(",")] for line in done.output.splitlines() if done.code in DONE]
    # Around the rows there may be lines of warnings.
    return [row for row in rows if len(row) == len(fields)]
