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
from pathlib import Path
from typing import Any

import msgspec

from devices.base.errors import DeviceError, TestbedError
from devices.base.rowlog import RowLog
from devices.power.lateness import Lateness, LatenessCounter
from devices.power.sampled import SampledSource, SourceReport
from devices.power.source import Surroundings
from devices.profile import Profile
from devices.radios import Radio

END_S = 8.0
"""How long a last read may take when the sampling ends; the client waits a little longer than this."""


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to sample, under which name, into which file."""

    profile: Profile
    node: str
    out: str
    activity: str
    radio: Radio | None = None


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


def main() -> int:
    """Run the process; 0 when it was ended from outside, 1 after a failure."""
    sources: list[SampledSource] = []
    try:
        config = msgspec.json.decode(sys.stdin.buffer.raw.readline(), type=SamplerConfig)  # type: ignore[union-attr]
        if not config.profile.power:
            raise DeviceError(f"{config.profile.name} has no power source to sample")
        output = RowLog(Path(config.out))
        surroundings = Surroundings(Path(config.activity), Path(config.profile.root), config.radio)
        # One by one, so that those already open are closed when a later one cannot be read.
        for spec in config.profile.power:
            sources.append(SampledSource(spec, config.node, surroundings))  # noqa: PERF401
        _check_names(sources)
        _say({"ready": [source.capability for source in sources]})
        _say(_sample(sources, output))
    except (TestbedError, msgspec.MsgspecError) as error:
        _say({"error": str(error)})
        return 1
    finally:
        for source in sources:
            source.source.close()
    return 0


def _check_names(sources: list[SampledSource]) -> None:
    """A sample is known by its source and rail alone."""
    names = [f"{source.capability.source} {rail}" for source in sources for rail in source.scopes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeviceError(f"two power sources give {', '.join(twice)}; name the rail otherwise in one of them")


def _sample(sources: list[SampledSource], output: RowLog) -> SamplerReport:
    """Sample until stdin ends or a source fails."""
    # The end of this pipe is the end of all threads.
    stop, stop_writer = os.pipe()
    failed, failed_writer = os.pipe()

    def run(source: SampledSource) -> None:
        source.sample(output, stop)
        if source.error:
            os.write(failed_writer, b"!")

    threads = [threading.Thread(target=run, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    while True:
        readable, _, _ = select.select([0, failed], [], [])
        if failed in readable or not os.read(0, 4096):
            break
    os.close(stop_writer)
    give_up = time.monotonic() + END_S
    for source, thread in zip(sources, threads, strict=True):
        thread.join(max(0.0, give_up - time.monotonic()))
        if thread.is_alive():
            raise DeviceError(f"{source.capability.source}: its last read has not ended within {END_S:g} s")
    if errors := [source.error for source in sources if source.error]:
        raise DeviceError("; ".join(errors))
    lateness = LatenessCounter()
    for source in sources:
        lateness.add_all(source.lateness)
    return SamplerReport(
        samples=sum(source.samples for source in sources),
        missed=sum(source.missed for source in sources),
        lateness_us=lateness.percentiles(),
        histogram=lateness.histogram(),
        sources=[source.report() for source in sources],
    )


def _say(message: Any) -> None:
    try:
        os.write(1, msgspec.json.encode(message) + b"\n")
    except BrokenPipeError:
        # The parent is gone; what was sampled is on disk.
        return


if __name__ == "__main__":
    sys.exit(main())
