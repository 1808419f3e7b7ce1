"""The sampler process: `python -m devices.power.sampler`, started by `devices.power.client`.

Its own process, so that a busy worker delays no sample and a sample delays no request. It reads one JSON
line (`SamplerConfig`) on stdin, answers `{"ready": [...]}` or `{"error": ...}` on stdout, samples until stdin
ends, which it also does when the parent is killed, and closes with one line, `SamplerReport` or
`{"error": ...}`.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from devices.errors import DeviceError
from devices.power.emulated import EmulatedSource
from devices.power.jtop import JtopSource
from devices.power.source import PowerSource, Sample, Scope, Surroundings
from devices.power.tegrastats import TegrastatsSource
from devices.profile import EmulatedPower, JtopPower, PowerSpec, Profile, TegrastatsPower

SOURCES: dict[type, Callable[[Any, Surroundings], PowerSource]] = {
    EmulatedPower: EmulatedSource,
    TegrastatsPower: TegrastatsSource,
    JtopPower: JtopSource,
}
"""The implementation of each member of `PowerSpec`."""


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


class SamplerReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the sampling went: samples written, deadlines skipped, and how late the others were met.

    `histogram` counts lateness in bins of an eighth of a power of two; a key is its bin's lower edge in µs,
    and so are the percentiles.
    """

    samples: int
    missed: int
    lateness_us: Lateness
    histogram: dict[str, int]


class PowerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the output file."""

    node: str
    source: str
    rail: str
    scope: Scope
    t_ns: int
    mw: float


class _Channel:
    """One source with its deadlines, t0 + k · period."""

    def __init__(self, spec: PowerSpec, surroundings: Surroundings) -> None:
        self.source: PowerSource = SOURCES[type(spec)](spec, surroundings)
        self.capability = self.source.probe()
        self.scopes = {rail.name: rail.scope for rail in self.capability.rails}
        self.missed = 0
        self._period_ns = 1e9 / spec.rate_hz
        self._t0_ns = time.monotonic_ns()
        self._k = 1
        self.deadline_ns = self._t0_ns + round(self._period_ns)

    def advance(self, now_ns: int) -> None:
        """Go to the next deadline that is still ahead, counting those that are not."""
        passed = int((now_ns - self._t0_ns) / self._period_ns)
        following = max(passed, self._k) + 1
        self.missed += following - self._k - 1
        self._k = following
        self.deadline_ns = self._t0_ns + round(following * self._period_ns)


class _LatenessCounter:
    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._max_ns = 0

    def add(self, lateness_ns: int) -> None:
        if lateness_ns > self._max_ns:
            self._max_ns = lateness_ns
        lateness_us = lateness_ns // 1000
        shift = max(0, lateness_us.bit_length() - 4)
        self._counts[lateness_us >> shift << shift] += 1

    def summary(self) -> tuple[Lateness, dict[str, int]]:
        ordered = sorted(self._counts.items())
        lateness = Lateness(p50=self._quantile(ordered, 0.5), p99=self._quantile(ordered, 0.99), max=self._max_ns / 1e3)
        return lateness, {str(us): count for us, count in ordered}

    @staticmethod
    def _quantile(ordered: list[tuple[int, int]], q: float) -> float:
        left = q * sum(count for _, count in ordered)
        for us, count in ordered:
            left -= count
            if left <= 0:
                return float(us)
        return 0.0


class _Output:
    """The file of samples; each tick reaches the kernel in one write."""

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._node = node
        self._encoder = msgspec.json.Encoder()
        self.samples = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise DeviceError(f"{path}: cannot be written: {error.strerror}") from error

    def append(self, read: list[tuple[_Channel, list[Sample]]]) -> None:
        lines = [
            PowerLine(
                node=self._node,
                source=channel.capability.source,
                rail=sample.rail,
                scope=channel.scopes[sample.rail],
                t_ns=sample.t_ns,
                mw=sample.mw,
            )
            for channel, samples in read
            for sample in samples
        ]
        data = self._encoder.encode_lines(lines)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise DeviceError(f"{self._path}: cannot be written: {error.strerror}") from error
        if written != len(data):
            raise DeviceError(f"{self._path}: only {written} of {len(data)} bytes were written; is the disk full?")
        self.samples += len(lines)


def main() -> int:
    """Run the process; 0 when it was ended from outside, 1 after a failure."""
    channels: list[_Channel] = []
    try:
        config = msgspec.json.decode(sys.stdin.buffer.raw.readline(), type=SamplerConfig)  # type: ignore[union-attr]
        if not config.profile.power:
            raise DeviceError(f"{config.profile.name} has no power source to sample")
        output = _Output(Path(config.out), config.node)
        surroundings = Surroundings(Path(config.activity), Path(config.profile.root))
        # One by one, so that those already open are closed when a later one cannot be read.
        for spec in config.profile.power:
            channels.append(_Channel(spec, surroundings))  # noqa: PERF401
        _say({"ready": [channel.capability for channel in channels]})
        _say(_sample(channels, output))
    except (DeviceError, msgspec.MsgspecError) as error:
        _say({"error": str(error)})
        return 1
    finally:
        for channel in channels:
            channel.source.close()
    return 0


def _sample(channels: list[_Channel], output: _Output) -> SamplerReport:
    lateness = _LatenessCounter()
    while not _ended_before(min(channel.deadline_ns for channel in channels)):
        read = []
        for channel in channels:
            now_ns = time.monotonic_ns()
            if now_ns >= channel.deadline_ns:
                lateness.add(now_ns - channel.deadline_ns)
                read.append((channel, channel.source.read()))
                channel.advance(now_ns)
        output.append(read)
    percentiles, histogram = lateness.summary()
    return SamplerReport(
        samples=output.samples,
        missed=sum(channel.missed for channel in channels),
        lateness_us=percentiles,
        histogram=histogram,
    )


def _ended_before(deadline_ns: int) -> bool:
    """Wait for a deadline; True as soon as stdin ends instead."""
    while True:
        wait_ns = deadline_ns - time.monotonic_ns()
        readable, _, _ = select.select([0], [], [], max(0, wait_ns) / 1e9)
        if readable and not os.read(0, 4096):
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
