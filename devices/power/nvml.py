"""The power of an NVIDIA GPU as its driver tells it (NVML, package nvidia-ml-py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability, Rail
from devices.power.counter import EnergyCounter
from devices.power.nvmlgpu import AVERAGING_MS, NvmlGpu
from devices.power.source import Sample, SelfCheck, Surroundings
from devices.power.spec import PowerSpec, Share, Text

FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
"""NVML_FI_DEV_POWER_AVERAGE and NVML_FI_DEV_POWER_INSTANT in nvml.h."""

MAX_DIVERGENCE = 0.05
"""Difference between the energy counter and the integrated power above which one of them is wrong for us."""

MIN_CHECK_S = 5.0
"""The counter moves a few times a second, so over a shorter time it may differ by a step alone."""

COUNTER_WRAPS_AT = 1 << 32
"""Where an energy counter of 32 bits in mJ starts again; those of 64 bits never get there."""


class NvmlPower(PowerSpec, frozen=True, kw_only=True, tag="nvml"):
    """One NVIDIA GPU, read through its driver's NVML.

    `gpu` is NVML's index, or a UUID as `nvidia-smi -L` prints it, which a reboot does not change. `gain` is how far a
    reading may be off, relative: 0.05 is what NVML's documentation has stated (of Fermi and Kepler; of later GPUs
    it states nothing).
    """

    gpu: Annotated[int, msgspec.Meta(ge=0, le=255)] | Text = 0
    gain: Share = 0.05


class NvmlSource:
    """One GPU's power; beside it, as parts, what the driver says otherwise of the same power.

    The rail `GPUn` (nvmlDeviceGetPowerUsage) is the card with its memory: scope `module`, without the host that it sits
    in. `GPUn_INSTANT`, `GPUn_AVERAGE` and `GPUn_COUNTER` (from the energy counter) are other readings of the same
    watts, so they have the scope `rail` and are never added. The counter is compared with the integrated power.
    """

    Spec = NvmlPower

    def __init__(
        self, spec: NvmlPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        del surroundings
        self._spec = spec
        self._clock = clock
        self._gpu: NvmlGpu | None = None
        self._rail = "GPU"
        self._fields: dict[int, str] = {}
        self._lags_ns: dict[str, int] = {}
        self._counter: EnergyCounter | None = None
        self._integral_mj = 0.0
        self._last: Sample | None = None
        self._first_ns = 0
        self._zeros = 0
        self._max_mw = 0.0
        self._implausible: dict[str, int] = {}

    def probe(self) -> Capability:
        """Find the GPU and take a first reading of everything that it may tell.

        Raises:
            DeviceError: no driver, no such GPU, a part of one, or one that does not tell its power.
        """
        self.close()
        gpu = self._gpu = NvmlGpu(self._spec.gpu)
        self._rail = f"GPU{gpu.index}"
        # Initialising proves nothing: on a Jetson it succeeds, and every reading is then refused.
        with gpu.asked("does not tell its power", "; on a Jetson take source ina or tegrastats"):
            if not gpu.power_mw():
                raise DeviceError(f"{gpu}: NVML gives its power as 0 mW, which no GPU that runs draws")
        self._max_mw = self._spec.max_mw or gpu.limit_mw()
        averaging_ms = gpu.averaging_ms()
        self._lags_ns = {self._rail: round((averaging_ms or 0) * 1e6 / 2)}
        rails = [Rail(name=self._rail, scope="module", gain=self._spec.gain, max_mw=self._max_mw)]
        for field, suffix, field_ms in (
            (FIELD_POWER_AVERAGE, "AVERAGE", AVERAGING_MS),
            (FIELD_POWER_INSTANT, "INSTANT", 0.0),
        ):
            if gpu.fields_mw([field])[0]:
                self._fields[field] = rail = f"{self._rail}_{suffix}"
                self._lags_ns[rail] = round(field_ms * 1e6 / 2)
                rails.append(Rail(name=rail, scope="rail", gain=self._spec.gain, max_mw=self._max_mw))
        if gpu.has_energy():
            self._counter = EnergyCounter(1.0, COUNTER_WRAPS_AT, self._max_mw)
            with gpu.asked("no longer tells its energy"):
                self._counter.advance(self._clock(), gpu.energy_mj())
            rails.append(Rail(name=f"{self._rail}_COUNTER", scope="rail", gain=self._spec.gain, max_mw=self._max_mw))
        return Capability(
            source="nvml",
            rails=rails,
            rate_hz_max=None,
            averaging_ms=averaging_ms,
            detail={
                "model": gpu.model,
                **gpu.names(),
                "fields": sorted(self._fields),
                "energy_counter": self._counter is not None,
            },
        )

    def read(self) -> list[Sample]:
        """The power now, in every form that this GPU tells; 0 mW, and more than it can draw, is left out and counted.

        Raises:
            DeviceError: not probed, or the GPU no longer answers.
        """
        if self._gpu is None:
            raise DeviceError("NVML was read before it was probed")
        samples = []
        with self._gpu.asked("no longer tells its power"):
            samples += self._sample(self._rail, self._gpu.power_mw())
            self._integrate(samples)
            if self._fields:
                for rail, mw in zip(self._fields.values(), self._gpu.fields_mw(list(self._fields)), strict=True):
                    samples += self._sample(rail, mw or 0)
            if self._counter:
                mean = self._counter.advance(self._clock(), self._gpu.energy_mj())
                if mean is not None:
                    samples.append(Sample(mean[0], f"{self._rail}_COUNTER", mean[1]))
        return samples

    def self_check(self) -> SelfCheck:
        """Whether the energy counter and the integrated power agree, and how many readings were 0."""
        detail: dict[str, Any] = {"zero_readings": self._zeros}
        warnings = []
        if self._zeros:
            warnings.append(f"{self._gpu}: {self._zeros} readings of 0 mW were left out")
        if self._counter and self._last:
            seconds = (self._last.t_ns - self._first_ns) / 1e9
            if min(seconds, self._counter.span_s) >= MIN_CHECK_S:
                integrated_mw, counted_mw = self._integral_mj / seconds, self._counter.total_mj / self._counter.span_s
                divergence = counted_mw / integrated_mw - 1
                detail.update(integrated_mw=integrated_mw, counted_mw=counted_mw, divergence=divergence)
                if abs(divergence) > MAX_DIVERGENCE:
                    warnings.append(
                        f"{self._gpu}: the energy counter gives {counted_mw / 1000:.1f} W, the integrated power "
                        f"{integrated_mw / 1000:.1f} W, {divergence:+.1%} apart (limit {MAX_DIVERGENCE:.0%})"
                    )
            elif seconds >= MIN_CHECK_S:
                detail["energy_counter_stood_still"] = True
                warnings.append(
                    f"{self._gpu}: the energy counter moved for {self._counter.span_s:.1f} s of {seconds:.1f} s"
                )
        implausible = dict(self._implausible)
        if self._counter and self._counter.left_out:
            implausible[f"{self._rail}_COUNTER"] = self._counter.left_out
        return SelfCheck(detail=detail, warnings=warnings, implausible=implausible)

    def close(self) -> None:
        """Let go of NVML."""
        if self._gpu is not None:
            gpu, self._gpu = self._gpu, None
            gpu.close()
        self._fields.clear()
        self._implausible.clear()
        self._counter, self._last, self._integral_mj, self._zeros = None, None, 0.0, 0

    def _sample(self, rail: str, mw: int) -> list[Sample]:
        if mw <= 0:
            self._zeros += 1
            return []
        if mw > self._max_mw:
            self._implausible[rail] = self._implausible.get(rail, 0) + 1
            return []
        return [Sample(self._clock() - self._lags_ns[rail], rail, float(mw))]

    def _integrate(self, samples: list[Sample]) -> None:
        for sample in samples:
            if self._last is None:
                self._first_ns = sample.t_ns
            else:
                self._integral_mj += (self._last.mw + sample.mw) / 2 * (sample.t_ns - self._last.t_ns) / 1e9
            self._last = sample
