"""The power sources of a node, sampled for a moment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from devices.activity import ActivityWriter
from devices.base.errors import DeviceError
from devices.base.power import Capability, PowerRow
from devices.power.client import PowerSampler
from devices.profile import Profile
from testbed.worker.check.answer import CheckLine

RATE_WARNING, RATE_FAILED = 0.9, 0.5
"""Shares of the promised sample rate: below the first it is worth a word, below the second the gaps would show."""


def check_power(profile: Profile, seconds: float) -> Iterator[CheckLine]:
    """Every power source, sampled as in a run."""
    if not profile.power:
        fix = "name a source under `power:` in the profile if its energy is to be measured (docs/hardware.md)"
        yield CheckLine(state="warning", what="metering", seen="none: its energy stays blank", fix=fix)
    for spec in profile.power:
        name = spec.source
        with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
            alone = msgspec.structs.replace(profile, power=[spec])
            try:
                capability, samples = _sample(alone, Path(folder), seconds)
            except DeviceError as error:
                fix = "see docs/hardware.md, When a check fails; or take the source out of the profile"
                seen = str(error).removeprefix(f"{profile.name}: power sampling failed: ")  # both said by the line
                yield CheckLine(state="failed", what=f"power: {name}", seen=seen, fix=fix)
                continue
        yield power_line(name, spec.rate_hz, capability, samples)


def _sample(profile: Profile, folder: Path, seconds: float) -> tuple[Capability, list[PowerRow]]:
    """One source, sampled as in a run."""
    activity = ActivityWriter(folder / "activity")
    try:
        with PowerSampler.start(profile, profile.name, folder / "power.jsonl", folder / "activity") as sampler:
            time.sleep(seconds)
            sampler.stop()
        lines = (folder / "power.jsonl").read_bytes()
        return sampler.capabilities[0], msgspec.json.Decoder(PowerRow).decode_lines(lines)
    finally:
        activity.close()


def power_line(name: str, asked_hz: float, capability: Capability, samples: list[PowerRow]) -> CheckLine:
    """What to say of the samples of a source that was asked for `asked_hz`."""
    shown, slowest_hz, dead = [], float("inf"), []
    for rail in capability.rails:
        t_ns = [sample.t_ns for sample in samples if sample.rail == rail.name]
        mw = [sample.mw for sample in samples if sample.rail == rail.name]
        spent_s = (t_ns[-1] - t_ns[0]) / 1e9 if len(t_ns) > 1 else 0.0
        slowest_hz = min(slowest_hz, (len(t_ns) - 1) / spent_s if spent_s else 0.0)
        mean = f"{sum(mw) / len(mw) / 1000:.2f} W" if mw else "no sample"
        shown.append(f"{rail.name} ({rail.scope}) {mean}")
        if mw and max(mw) <= 0:
            dead.append(rail.name)
    averaging = "" if capability.averaging_ms is None else f", each a mean of {capability.averaging_ms:g} ms"
    seen = f"{', '.join(shown)}; {slowest_hz:.3g} samples/s of {asked_hz:g} asked for{averaging}"
    what = f"power: {name}"
    if slowest_hz < RATE_FAILED * asked_hz:
        fix = f"set `rate_hz:` of this source to at most {max(1, int(slowest_hz))}, or find what slows the node"
        return CheckLine(state="failed", what=what, seen=seen, fix=fix)
    if dead:
        fix = f"{', '.join(dead)} never shows more than 0 W: is the board supplied another way?"
        return CheckLine(state="warning", what=what, seen=seen, fix=fix)
    if slowest_hz < RATE_WARNING * asked_hz:
        return CheckLine(state="warning", what=what, seen=seen, fix="a lower `rate_hz:` is met more evenly")
    return CheckLine(state="ok", what=what, seen=seen)
