"""A made-up driver with one GPU whose power moves. `FAKE_NVML` says how it behaves.

good: every reading there is. old: no fields, no counter, no averaging (as before Volta). jetson: starts, then refuses
every reading. no-driver: does not start. zero: reads 0 mW. flaky: every fifth reading is 0 mW. lagging: its energy
counter counts four fifths. stuck: its counter stands still. lost: stops answering after 20 readings. wrapped: every
tenth reading is 32 bits of ones.
"""

import os
import time
from types import SimpleNamespace

NVML_SUCCESS = 0
NVML_ERROR_NOT_SUPPORTED = 3

LOW_MW, HIGH_MW, PERIOD_S = 60_000, 180_000, 0.8
COUNTER_STEP_S = 0.05


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818
    def __str__(self):
        return "Not Supported"


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818
    def __str__(self):
        return "NVML Shared Library Not Found"


class NVMLError_NotFound(NVMLError):  # noqa: N801, N818
    def __str__(self):
        return "Not Found"


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801, N818
    def __str__(self):
        return "GPU is lost"


_reads = 0


def _mode():
    return os.environ.get("FAKE_NVML", "good")


def _now_s():
    # A test may hold the clock.
    return float(os.environ["FAKE_NVML_S"]) if "FAKE_NVML_S" in os.environ else time.monotonic()


def power_mw(now_s):
    """What the GPU draws at a time."""
    phase = (now_s / PERIOD_S) % 1
    return LOW_MW + (HIGH_MW - LOW_MW) * (2 * phase if phase < 0.5 else 2 - 2 * phase)


def energy_mj(now_s):
    """What it has drawn since time 0, exactly."""
    whole, phase = divmod(now_s / PERIOD_S, 1)
    swing = phase * phase if phase < 0.5 else 0.5 - (1 - phase) ** 2
    mean = (LOW_MW + HIGH_MW) / 2
    return PERIOD_S * (whole * mean + LOW_MW * phase + (HIGH_MW - LOW_MW) * swing)


def _reading():
    global _reads
    _reads += 1
    if _mode() == "jetson":
        raise NVMLError_NotSupported
    if _mode() == "lost" and _reads > 20:
        raise NVMLError_GpuIsLost
    if _mode() == "zero" or (_mode() == "flaky" and _reads % 5 == 0):
        return 0
    if _mode() == "wrapped" and _reads % 10 == 0:
        return 2**32 - 1
    return round(power_mw(_now_s()))


def nvmlInit():
    if _mode() == "no-driver":
        raise NVMLError_LibraryNotFound


def nvmlShutdown():
    pass


def nvmlDeviceGetHandleByIndex(index):
    if index != 0:
        raise NVMLError_NotFound
    return "handle"


def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != "GPU-4f7c":
        raise NVMLError_NotFound
    return "handle"


def nvmlDeviceGetIndex(handle):
    return 0


def nvmlDeviceGetName(handle):
    return "Tesla P100" if _mode() == "old" else "NVIDIA L40S"


def nvmlDeviceGetUUID(handle):
    return "GPU-4f7c"


def nvmlSystemGetDriverVersion():
    return b"570.86.15"


def nvmlDeviceGetArchitecture(handle):
    return 4 if _mode() == "old" else 8


def nvmlDeviceGetPowerManagementLimitConstraints(handle):
    return [100_000, 350_000]


def nvmlDeviceGetPowerUsage(handle):
    return _reading()


def nvmlDeviceGetFieldValues(handle, fields):
    refused = _mode() == "old"
    return [
        SimpleNamespace(
            fieldId=field,
            nvmlReturn=NVML_ERROR_NOT_SUPPORTED if refused else NVML_SUCCESS,
            value=SimpleNamespace(uiVal=0 if refused else round(power_mw(_now_s()))),
        )
        for field in fields
    ]


def nvmlDeviceGetTotalEnergyConsumption(handle):
    if _mode() in ("old", "jetson"):
        raise NVMLError_NotSupported
    now_s = 0.0 if _mode() == "stuck" else _now_s() // COUNTER_STEP_S * COUNTER_STEP_S
    return round(energy_mj(now_s) * (0.8 if _mode() == "lagging" else 1))
