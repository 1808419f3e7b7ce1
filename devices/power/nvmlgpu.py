"""One NVIDIA GPU through its driver's library (NVML, package nvidia-ml-py): what it tells, and what it does not."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from devices.base.errors import DeviceError
from devices.power.plausible import MARGIN

AVERAGING_MS = 1000.0
"""nvml.h on nvmlDeviceGetPowerUsage: the mean over 1 s on Ampere (but GA100) and newer, instantaneous before."""

CARD_W = 1400.0
"""The greatest rated power of one GPU (NVIDIA HGX B300), for one whose driver tells no limit."""

NO_LIMIT_MW = (1 << 32) - 1
"""A limit of all bits is none."""

MIG = "MIG-"
"""What the UUID of a MIG instance begins with."""

REINSTALL = "pip uninstall -y nvidia-ml-py3 pynvml; pip install --force-reinstall nvidia-ml-py"

_AMPERE = 7  # NVML_DEVICE_ARCH_AMPERE
_NEEDED = (
    "NVMLError",
    "NVML_SUCCESS",
    "nvmlInit",
    "nvmlShutdown",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetUUID",
    "nvmlSystemGetDriverVersion",
    "nvmlDeviceGetPowerUsage",
)
_GA100 = ("A100", "A800", "A30")


class NvmlGpu:
    """A GPU, found by NVML's index or by its UUID. It holds NVML until it is closed.

    Attributes:
        model: its name, such as `NVIDIA L40S`.
        index: NVML's number for it.

    Raises:
        DeviceError: no driver, no such GPU, or a part of one.
    """

    def __init__(self, wanted: int | str) -> None:
        self._title = f"GPU {wanted}"
        if str(wanted).startswith(MIG):
            raise DeviceError(
                f"{self}: that is a MIG instance, a part of a GPU whose power nobody measures; name the GPU that "
                "it is on (`nvidia-smi -L` lists each instance under its GPU)"
            )
        self._nvml = _started()
        try:
            with self.asked("is not there", "; see `nvidia-smi -L`"):
                self._handle = self._find(wanted)
                self.model = _as_text(self._nvml.nvmlDeviceGetName(self._handle))
                self.index = int(self._nvml.nvmlDeviceGetIndex(self._handle))
        except BaseException:
            self.close()
            raise
        self._title = f"GPU {wanted} ({self.model})"

    def __str__(self) -> str:
        return self._title

    def close(self) -> None:
        """Let go of NVML; once."""
        # If it is gone already, that is what was asked.
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    @contextmanager
    def asked(self, otherwise: str, advice: str = "") -> Iterator[None]:
        """What runs inside asks NVML; where that fails, the GPU does `otherwise`.

        Raises:
            DeviceError: NVML has an error for an answer.
        """
        try:
            yield
        except self._nvml.NVMLError as error:
            raise DeviceError(f"{self} {otherwise}: NVML says {error}{advice}") from error

    def power_mw(self) -> int:
        """The card with its memory; to be read within `asked`."""
        return int(self._nvml.nvmlDeviceGetPowerUsage(self._handle))

    def fields_mw(self, fields: list[int]) -> list[int | None]:
        """Field values in mW; None for one that this GPU does not tell."""
        values = self._told("nvmlDeviceGetFieldValues", fields)
        if values is None:
            return [None] * len(fields)
        success = self._nvml.NVML_SUCCESS
        return [int(value.value.uiVal) if value.nvmlReturn == success else None for value in values]

    def has_energy(self) -> bool:
        """Whether there is an energy counter: before Volta there is none."""
        return self._told("nvmlDeviceGetTotalEnergyConsumption") is not None

    def energy_mj(self) -> int:
        """The energy counter; to be read within `asked`."""
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def names(self) -> dict[str, str]:
        """Its UUID and its driver's version.

        Raises:
            DeviceError: it does not tell them.
        """
        with self.asked("does not tell what it is"):
            uuid, driver = self._nvml.nvmlDeviceGetUUID(self._handle), self._nvml.nvmlSystemGetDriverVersion()
        return {"uuid": _as_text(uuid), "driver": _as_text(driver)}

    def limit_mw(self) -> float:
        """What this GPU can draw at all: from the greatest power limit that its driver tells."""
        told = [
            self._told("nvmlDeviceGetEnforcedPowerLimit"),
            self._told("nvmlDeviceGetPowerManagementLimit"),
            self._told("nvmlDeviceGetPowerManagementDefaultLimit"),
            *(self._told("nvmlDeviceGetPowerManagementLimitConstraints") or ()),
        ]
        stated = [float(mw) for mw in told if mw and mw < NO_LIMIT_MW]
        return MARGIN * max(stated, default=CARD_W * 1000)

    def averaging_ms(self) -> float | None:
        """Over how long `power_mw` is a mean; None where it is of an instant."""
        architecture = self._told("nvmlDeviceGetArchitecture")
        words = self.model.replace("-", " ").split()
        if architecture is None or architecture < _AMPERE or any(word in _GA100 for word in words):
            return None
        return AVERAGING_MS

    def _find(self, wanted: int | str) -> Any:
        if isinstance(wanted, int):
            return self._nvml.nvmlDeviceGetHandleByIndex(wanted)
        try:
            return self._nvml.nvmlDeviceGetHandleByUUID(wanted)
        except TypeError:
            # Older bindings hand it on to C as it is.
            return self._nvml.nvmlDeviceGetHandleByUUID(wanted.encode())

    def _told(self, function: str, *arguments: Any) -> Any:
        """What the GPU tells beyond its power; None where it, its driver or an older binding does not."""
        ask = getattr(self._nvml, function, None)
        if ask is None:
            return None
        try:
            return ask(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


def _started() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise DeviceError(
            "source nvml needs nvidia-ml-py, which this Python does not have: pip install nvidia-ml-py"
        ) from error
    missing = [name for name in _NEEDED if not hasattr(nvml, name)]
    if missing:
        raise DeviceError(
            f"the pynvml at {getattr(nvml, '__file__', '?')} is not nvidia-ml-py (it has no {missing[0]}); "
            f"on the node: {REINSTALL}"
        )
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise DeviceError(f"NVML does not start: {error}; is NVIDIA's driver loaded (nvidia-smi)?") from error
    return nvml


def _as_text(value: Any) -> str:
    # Older bindings answer in bytes.
    return value.decode() if isinstance(value, bytes) else str(value)
