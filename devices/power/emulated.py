"""The power of an emulated board, modelled from what its worker says it is doing."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from devices.activity import Activity, ActivityReader, ActivityRecord, RadioRecord
from devices.base.errors import DeviceError
from devices.base.power import Capability, Rail
from devices.power.source import Sample, Surroundings
from devices.power.spec import Milliwatts, PowerSpec, Text, wrong


class EmulatedPower(PowerSpec, frozen=True, kw_only=True, tag="emulated"):
    """A power model in place of a sensor.

    `idle_mw`, `cpu_busy_mw` and `gpu_busy_mw` are all of the rail's power while the node waits, while its CPU computes,
    and while its GPU does, with the part of the CPU that feeds it. `radio_mw` is what the radio adds while it is on,
    where the cell asks for no link that says which radio it is (`devices.radios`). `reference` names the published
    source of the figures.
    """

    rail: Text
    idle_mw: Milliwatts
    cpu_busy_mw: Milliwatts
    gpu_busy_mw: Milliwatts | None = None
    radio_mw: Milliwatts
    reference: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, busy_mw in (("cpu_busy_mw", self.cpu_busy_mw), ("gpu_busy_mw", self.gpu_busy_mw)):
            if busy_mw is not None and busy_mw < self.idle_mw:
                raise wrong(f"Expected at least idle_mw ({self.idle_mw:g}), got {busy_mw:g}", f".{key}")


class EmulatedSource:
    """An ideal averaging sensor on a board whose power is that of its activity, and beside that what its radio takes.

    A sample is the mean power since the previous read, stamped with the middle of that interval. There the
    mean is the value of the power for any power that is linear over the interval, and at a steady rate the
    trapezoid between two samples is exact but for half an interval at either end. Stamped with the end,
    the whole curve would come half an interval late, and energy would move across the edges of a window.
    """

    Spec = EmulatedPower

    def __init__(
        self, spec: EmulatedPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._spec = spec
        self._path = surroundings.activity
        self._radio = surroundings.radio
        self._clock = clock
        self._reader: ActivityReader | None = None
        self._previous_ns = 0
        self._previous = _NOTHING

    def probe(self) -> Capability:
        """Start averaging now.

        Raises:
            DeviceError: no worker has created the activity file.
        """
        self.close()
        self._reader = ActivityReader(self._path)
        self._previous_ns, self._previous = self._read()
        return Capability(
            source="emulated",
            rails=[Rail(name=self._spec.rail, scope="emulated")],
            rate_hz_max=None,
            averaging_ms=1000 / self._spec.rate_hz,
            detail={
                "idle_mw": self._spec.idle_mw,
                "cpu_busy_mw": self._spec.cpu_busy_mw,
                "gpu_busy_mw": self._spec.gpu_busy_mw,
                "reference": self._spec.reference,
                "radio": None if self._radio is None else msgspec.to_builtins(self._radio),
            },
        )

    def read(self) -> list[Sample]:
        """The mean power since the previous read.

        Raises:
            DeviceError: not probed, or the activity file cannot be read.
        """
        start_ns, start = self._previous_ns, self._previous
        end_ns, end = self._read()
        if end_ns == start_ns:
            return []
        self._previous_ns, self._previous = end_ns, end
        elapsed_ns = end_ns - start_ns
        spent_ns = [
            after - before for before, after in zip(start.totals_at(start_ns), end.totals_at(end_ns), strict=True)
        ]
        radio_nj = end.radio.taken_at(end_ns) - start.radio.taken_at(start_ns)
        spec = self._spec
        gpu_busy_mw = spec.idle_mw if spec.gpu_busy_mw is None else spec.gpu_busy_mw
        busy_mw = {Activity.CPU: spec.cpu_busy_mw, Activity.GPU: gpu_busy_mw}
        busy_pj = sum((mw - spec.idle_mw) * spent_ns[activity] for activity, mw in busy_mw.items())
        mw = spec.idle_mw + (busy_pj + 1000 * radio_nj) / elapsed_ns
        return [Sample((start_ns + end_ns) // 2, spec.rail, mw)]

    def close(self) -> None:
        """Let go of the activity file."""
        if self._reader:
            self._reader.close()
            self._reader = None

    def _read(self) -> tuple[int, ActivityRecord]:
        if self._reader is None:
            raise DeviceError("the emulated power source was read before it was probed")
        record = self._reader.read()
        while True:
            now_ns = self._clock()  # after the record: what runs has then begun
            if (latest := self._reader.read()) == record:
                return now_ns, record
            record = latest  # something else began while this process was held up in between


_NOTHING = ActivityRecord(Activity.IDLE, 0, 0, (0,) * len(Activity), RadioRecord())
