"""The sampler process: `python -m devices.power.sampler`, started by `devices.power.client`.

Its own process, so that a busy worker delays no sample and a sample delays no request; in it a thread for each
source, so that a slow meter delays no fast sensor. It reads one JSON line (`SamplerConfig`) on stdin, answers
`{"ready": [...]}` or `{"error": ...}` on stdout, samples until stdin ends, which it also does when the parent is
killed, and closes with one line, `SamplerReport` or `{"error": ...}`.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import PowerRow
from devices.base.rowlog import RowLog
from devices.power.emulated import EmulatedSource
from devices.power.ina import InaSource
from devices.power.jtop import JtopSource
from devices.power.meter import ScpiMeterSource
from devices.power.nvml import NvmlSource
from devices.power.rapl import RaplSource
from devices.power.source import PowerSource, Sample, SelfCheck, SelfChecking, Surroundings
from devices.power.tegrastats import TegrastatsSource
from devices.profile import (
    EmulatedPower,
    InaPower,
    JtopPower,
    NvmlPower,
    PowerSpec,
    Profile,
    RaplPower,
    ScpiMeterPower,
    TegrastatsPower,
)

SOURCES: dict[type[PowerSpec], Callable[[Any, Surroundings], PowerSource]] = {
    EmulatedPower: EmulatedSource,
    InaPower: InaSource,
    TegrastatsPower: TegrastatsSource,
    JtopPower: JtopSource,
    NvmlPower: NvmlSource,
    RaplPower: RaplSource,
    ScpiMeterPower: ScpiMeterSource,
}
"""The implementation of each member of `PowerSpec`."""

END_S = 8.0
"""How long a last read may take when the sampling ends; the client waits a little longer than this."""


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to sample, under which name, into which file."""

    profile: Profile
    node: str
    out: str
    activity: str


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """How long after its deadline a sample was begun, in µs."""

    p50: float
    p99: float
    max: float


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the sampling of one source went, and what it found in its own readings."""

    source: str
    rails: list[str]
    samples: int
    missed: int
    lateness_us: Lateness
    check: SelfCheck


class SamplerReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the sampling went: samples written, deadlines skipped, and how late the others were met.

    `histogram` counts lateness in bins of an eighth of a power of two; a key is its bin's lower edge in µs,
    and so are the percentiles.
    """

    samples: int
    missed: int
    lateness_us: Lateness
    histogram: dict[str, int]
    sources: list[SourceReport]


class _Channel:
    """One source with its deadlines, t0 + k · period, and the thread that meets them."""

    def __init__(self, spec: PowerSpec, node: str, surroundings: Surroundings) -> None:
        self._node = node
        self.source = SOURCES[type(spec)](spec, surroundings)
        try:
            self.capability = self.source.probe()
        except BaseException:
            self.source.close()
            raise
        self.scopes = {rail.name: rail.scope for rail in self.capability.rails}
        self.lateness = _LatenessCounter()
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
                rows = self._rows(self.source.read())
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
        return SourceReport(
            source=self.capability.source,
            rails=list(self.scopes),
            samples=self.samples,
            missed=self.missed,
            lateness_us=self.lateness.percentiles(),
            check=self.source.self_check() if isinstance(self.source, SelfChecking) else SelfCheck(),
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


class _LatenessCounter:
    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.max_ns = 0

    def add_all(self, other: _LatenessCounter) -> None:
        self.max_ns = max(self.max_ns, other.max_ns)
        for us, count in other.counts.items():
            self.counts[us] += count

    def add(self, lateness_ns: int) -> None:
        if lateness_ns > self.max_ns:
            self.max_ns = lateness_ns
        lateness_us = lateness_ns // 1000
        shift = max(0, lateness_us.bit_length() - 4)
        self.counts[lateness_us >> shift << shift] += 1

    def percentiles(self) -> Lateness:
        return Lateness(p50=self._quantile(0.5), p99=self._quantile(0.99), max=self.max_ns / 1e3)

    def histogram(self) -> dict[str, int]:
        return {str(us): count for us, count in sorted(self.counts.items())}

    def _quantile(self, q: float) -> float:
        left = q * sum(self.counts.values())
        for us, count in sorted(self.counts.items()):
            left -= count
            if left <= 0:
                return float(us)
        return 0.0


def main() -> int:
    """Run the process; 0 when it was ended from outside, 1 after a failure."""
    channels: list[_Channel] = []
    try:
        config = msgspec.json.decode(sys.stdin.buffer.raw.readline(), type=SamplerConfig)  # type: ignore[union-attr]
        if not config.profile.power:
            raise DeviceError(f"{config.profile.name} has no power source to sample")
        output = RowLog(Path(config.out))
        surroundings = Surroundings(Path(config.activity), Path(config.profile.root))
        # One by one, so that those already open are closed when a later one cannot be read.
        for spec in config.profile.power:
            channels.append(_Channel(spec, config.node, surroundings))  # noqa: PERF401
        _check_names(channels)
        _say({"ready": [channel.capability for channel in channels]})
        _say(_sample(channels, output))
    except (DeviceError, msgspec.MsgspecError) as error:
        _say({"error": str(error)})
        return 1
    finally:
        for channel in channels:
            channel.source.close()
    return 0


def _check_names(channels: list[_Channel]) -> None:
    """A sample is known by its source and rail alone."""
    names = [f"{channel.capability.source} {rail}" for channel in channels for rail in channel.scopes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeviceError(f"two power sources give {', '.join(twice)}; name the rail otherwise in one of them")


def _sample(channels: list[_Channel], output: RowLog) -> SamplerReport:
    """Sample until stdin ends or a source fails."""
    # The end of this pipe is the end of all threads.
    stop, stop_writer = os.pipe()
    failed, failed_writer = os.pipe()

    def run(channel: _Channel) -> None:
        channel.sample(output, stop)
        if channel.error:
            os.write(failed_writer, b"!")

    threads = [threading.Thread(target=run, args=(channel,), daemon=True) for channel in channels]
    for thread in threads:
        thread.start()
    while True:
        readable, _, _ = select.select([0, failed], [], [])
        if failed in readable or not os.read(0, 4096):
            break
    os.close(stop_writer)
    give_up = time.monotonic() + END_S
    for channel, thread in zip(channels, threads, strict=True):
        thread.join(max(0.0, give_up - time.monotonic()))
        if thread.is_alive():
            raise DeviceError(f"{channel.capability.source}: its last read has not ended within {END_S:g} s")
    if errors := [channel.error for channel in channels if channel.error]:
        raise DeviceError("; ".join(errors))
    lateness = _LatenessCounter()
    for channel in channels:
        lateness.add_all(channel.lateness)
    return SamplerReport(
        samples=sum(channel.samples for channel in channels),
        missed=sum(channel.missed for channel in channels),
        lateness_us=lateness.percentiles(),
        histogram=lateness.histogram(),
        sources=[channel.report() for channel in channels],
    )


def _ended_before(deadline_ns: int, stop: int) -> bool:
    """Wait for a deadline; True as soon as the pipe `stop` ends instead."""
    while True:
        wait_ns = deadline_ns - time.monotonic_ns()
        readable, _, _ = select.select([stop], [], [], max(0, wait_ns) / 1e9)
        if readable:
            return True
        if wait_ns <= 0:
            return False


def _say(message: Any) -> None:
    try:
        os.write(1, msgspec.json.encode(message) + b"\n")
    except BrokenPipeError:
        # The parent is gone; what was sampled is on disk.
        return


if __name__ == "__main__":
    sys.exit(main())
