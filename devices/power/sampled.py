"""One power source in the sampler's process: its deadlines, and the thread that meets them."""

from __future__ import annotations

import select
import time

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import PowerRow
from devices.base.rowlog import RowLog
from devices.power.lateness import Lateness, LatenessCounter
from devices.power.plausible import Plausibility
from devices.power.source import Sample, SelfCheck, SelfChecking, Surroundings
from devices.power.sources import open_source
from devices.power.spec import PowerSpec


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the sampling of one source went, and what it found in its own readings.

    `implausible` counts by rail the readings that were left out because nothing can draw that; `samples` are without
    them.
    """

    source: str
    rails: list[str]
    samples: int
    implausible: dict[str, int] = {}
    missed: int
    lateness_us: Lateness
    check: SelfCheck


class SampledSource:
    """One source with its deadlines, t0 + k · period, and the thread that meets them."""

    def __init__(self, spec: PowerSpec, node: str, surroundings: Surroundings) -> None:
        self._node = node
        self.source = open_source(spec, surroundings)
        try:
            self.capability = self.source.probe()
        except DeviceError:
            self.source.close()
            raise
        except Exception as error:
            # A mistake in a source, or in a library under it, is that source's one line too.
            self.source.close()
            raise DeviceError(f"{spec.source}: cannot be probed: {type(error).__name__}: {error}") from error
        if self.capability.source != spec.source:
            self.source.close()
            raise DeviceError(f"the source {spec.source!r} calls itself {self.capability.source!r}: one name, please")
        if spec.max_mw is not None:
            rails = [msgspec.structs.replace(rail, max_mw=spec.max_mw) for rail in self.capability.rails]
            self.capability = msgspec.structs.replace(self.capability, rails=rails)
        self.scopes = {rail.name: rail.scope for rail in self.capability.rails}
        self._plausibility = Plausibility(self.capability.rails)
        self.lateness = LatenessCounter()
        self.samples = 0
        self.missed = 0
        self.error: str | None = None
        self._period_ns = 1e9 / spec.rate_hz
        self._t0_ns = 0
        self._k = 1
        self._deadline_ns = 0

    def sample(self, output: RowLog, stop: int) -> None:
        """Read at every deadline until `stop` ends; what went wrong is left in `error`."""
        self._t0_ns = time.monotonic_ns()
        self._deadline_ns = self._t0_ns + round(self._period_ns)
        try:
            while not _ended_before(self._deadline_ns, stop):
                now_ns = time.monotonic_ns()
                self.lateness.add(now_ns - self._deadline_ns)
                rows = self._rows(self._plausibility.believed(self.source.read()))
                output.append(*rows)
                self.samples += len(rows)
                self._advance(now_ns)
        except DeviceError as error:
            self.error = str(error)
        except Exception as error:
            # A mistake in a source must not end its thread unheard: its samples would just stop.
            self.error = f"{self.capability.source}: {type(error).__name__}: {error}"

    def report(self) -> SourceReport:
        """What came of it."""
        check = self.source.self_check() if isinstance(self.source, SelfChecking) else SelfCheck()
        return SourceReport(
            source=self.capability.source,
            rails=list(self.scopes),
            samples=self.samples,
            implausible=self._plausibility.add(check.implausible),
            missed=self.missed,
            lateness_us=self.lateness.percentiles(),
            check=check,
        )

    def _rows(self, samples: list[Sample]) -> list[PowerRow]:
        source = self.capability.source
        return [
            PowerRow(
                node=self._node,
                source=source,
                rail=sample.rail,
                scope=self.scopes[sample.rail],
                t_ns=sample.t_ns,
                mw=sample.mw,
            )
            for sample in samples
        ]

    def _advance(self, now_ns: int) -> None:
        """Go to the next deadline that is still ahead, counting those that are not."""
        passed = int((now_ns - self._t0_ns) / self._period_ns)
        following = max(passed, self._k) + 1
        self.missed += following - self._k - 1
        self._k = following
        self._deadline_ns = self._t0_ns + round(following * self._period_ns)


def _ended_before(deadline_ns: int, stop: int) -> bool:
    """Wait for a deadline; True as soon as the pipe `stop` ends instead."""
    while True:
        wait_ns = deadline_ns - time.monotonic_ns()
        readable, _, _ = select.select([stop], [], [], max(0, wait_ns) / 1e9)
        if readable:
            return True
        if wait_ns <= 0:
            return False
