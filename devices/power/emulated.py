"""The power of an emulated board, modelled from what its worker says it is doing."""

from __future__ import annotations

import time
from collections.abc import Callable

from devices.activity import Activity, ActivityReader
from devices.base.errors import DeviceError
from devices.base.power import Capability, Rail
from devices.power.source import Sample, Surroundings
from devices.power.spec import Milliwatts, PowerSpec, Text, wrong


class EmulatedPower(PowerSpec, frozen=True, kw_only=True, tag="emulated"):
    """A power model in place of a sensor.

    `idle_mw` and `busy_mw` are the rail's power while the node waits and while it computes; `radio_mw`
    is what the radio adds while it is on. `reference` names the published source of the figures.
    """

    rail: Text
    idle_mw: Milliwatts
    busy_mw: Milliwatts
    radio_mw: Milliwatts
    reference: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.busy_mw < self.idle_mw:
            raise wrong(f"Expected at least idle_mw ({self.idle_mw:g}), got {self.busy_mw:g}", ".busy_mw")


class EmulatedSource:
    """An ideal averaging sensor on a board that draws idle, busy, or idle + radio power.

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
        self._clock = clock
        self._reader: ActivityReader | None = None
        self._previous_ns = 0
        self._previous_totals: tuple[int, ...] = ()

    def probe(self) -> Capability:
        """Start averaging now.

        Raises:
            DeviceError: no worker has created the activity file.
        """
        self.close()
        self._reader = ActivityReader(self._path)
        self._previous_ns, self._previous_totals = self._totals()
        return Capability(
            source="emulated",
            rails=[Rail(name=self._spec.rail, scope="emulated")],
            rate_hz_max=None,
            averaging_ms=1000 / self._spec.rate_hz,
            detail={
                "idle_mw": self._spec.idle_mw,
                "busy_mw": self._spec.busy_mw,
                "radio_mw": self._spec.radio_mw,
                "reference": self._spec.reference,
            },
        )

    def read(self) -> list[Sample]:
        """The mean power since the previous read.

        Raises:
            DeviceError: not probed, or the activity file cannot be read.
        """
        start_ns, start_totals = self._previous_ns, self._previous_totals
        end_ns, end_totals = self._totals()
        if end_ns == start_ns:
            return []
        self._previous_ns, self._previous_totals = end_ns, end_totals
        elapsed_ns = end_ns - start_ns
        compute = (end_totals[Activity.COMPUTE] - start_totals[Activity.COMPUTE]) / elapsed_ns
        radio = (end_totals[Activity.RADIO] - start_totals[Activity.RADIO]) / elapsed_ns
        spec = self._spec
        mw = spec.idle_mw + (spec.busy_mw - spec.idle_mw) * compute + spec.radio_mw * radio
        return [Sample((start_ns + end_ns) // 2, spec.rail, mw)]

    def close(self) -> None:
        """Let go of the activity file."""
        if self._reader:
            self._reader.close()
            self._reader = None

    def _totals(self) -> tuple[int, tuple[int, ...]]:
        if self._reader is None:
            raise DeviceError("the emulated power source was read before it was probed")
        # The clock after the record: the running activity has then begun.
        record = self._reader.read()
        now_ns = self._clock()
        return now_ns, record.totals_at(now_ns)
