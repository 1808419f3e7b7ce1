"""`python -m testbed.worker.check`: what a node can measure, found out on the node itself.

Reads one line of JSON on standard input, `CheckOrder`, and prints one, `CheckAnswer`, as its last.
"""

from __future__ import annotations

import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import onnxruntime
import zmq

from devices import jetson
from devices.activity import ActivityWriter
from devices.base.errors import DeviceError
from devices.base.power import Capability, PowerRow
from devices.base.providers import PROVIDERS
from devices.board import identify
from devices.machine import Machine
from devices.power.client import PowerSampler
from devices.profile import Profile, Settings
from devices.settings import put_back_left_behind, unmet
from testbed.version import VERSION

State: TypeAlias = Literal["ok", "warning", "failed"]

MIN_PYTHON = (3, 10)
MIN_FREE_BYTES = 1 << 30
RATE_WARNING, RATE_FAILED = 0.9, 0.5
"""Shares of the promised sample rate: below the first it is worth a word, below the second the gaps would show."""

_IDENTITY = bytes.fromhex(
    "08073a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a"
    "02080142040a00100d"
)
"""An ONNX model of one Identity node, float [1] → [1]: a provider that is listed need not load."""


class CheckOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The profile to check, and how long to sample power."""

    profile: Profile
    power_s: float = 1.0


class CheckLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what was seen, and what to do where that is not right."""

    state: State
    what: str
    seen: str
    fix: str = ""


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at on the node."""

    lines: list[CheckLine]
    facts: dict[str, Any]


def main() -> int:
    """Look at everything; 0 when the answer was printed, whatever it says."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=CheckOrder)
    machine = Machine(Path(order.profile.root))
    # First of all: what is looked at after it is then as it is when nothing runs.
    lines = list(_journal(machine))
    facts = identify(machine.root)
    lines += _python(order.profile)
    lines += _board(order.profile, machine, facts)
    lines += _runtime(order.profile)
    lines += _power(order.profile, order.power_s)
    lines += _settings(order.profile, machine)
    lines += _throttle(facts)
    lines += _data_plane(order.profile)
    lines += _disk()
    sys.stdout.buffer.write(msgspec.json.encode(CheckAnswer(lines=lines, facts=facts)) + b"\n")
    return 0


def _journal(machine: Machine) -> Iterator[CheckLine]:
    what = "left behind"
    try:
        found = put_back_left_behind(machine)
    except DeviceError as error:
        yield CheckLine(state="failed", what=what, seen=str(error))
        return
    for one in found:
        if one.in_use:
            fix = "wait for its end before you start another run here"
            yield CheckLine(state="warning", what=what, seen=f"nothing; in use by {one.owner}", fix=fix)
        if one.restored:
            seen = f"{one.owner} ended without putting back: {', '.join(one.restored)}"
            yield CheckLine(state="warning", what=what, seen=seen, fix="nothing: it has been put back now")
        if one.failed:
            fix = "put it back by hand, then check again"
            yield CheckLine(state="failed", what=what, seen=f"by {one.owner}: {'; '.join(one.failed)}", fix=fix)
    if not found:
        yield CheckLine(state="ok", what=what, seen="nothing: no earlier run's settings wait to be put back")


def _python(profile: Profile) -> Iterator[CheckLine]:
    versions = {"numpy": np.__version__, "pyzmq": zmq.__version__, "msgspec": msgspec.__version__}
    seen = f"{platform.python_version()} ({sys.executable}); testbed {VERSION}, " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    )
    if sys.version_info[:2] < MIN_PYTHON:
        fix = f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer and name it as `python:` in the profile"
        yield CheckLine(state="failed", what="Python", seen=seen, fix=fix)
    else:
        yield CheckLine(state="ok", what="Python", seen=seen)


def _board(profile: Profile, machine: Machine, facts: dict[str, Any]) -> Iterator[CheckLine]:
    gpus = [f"{gpu['name']}" for gpu in facts.get("gpus", [])]
    named = {
        "": facts.get("board_model") or facts.get("cpu_model") or facts["machine"],
        "L4T": facts.get("l4t"),
        "JetPack": facts.get("jetpack"),
        "GPU": ", ".join(gpus),
        "driver": facts.get("nvidia_driver"),
        "CUDA": facts.get("cuda"),
        "TensorRT": facts.get("tensorrt"),
        "kernel": facts.get("kernel"),
    }
    seen = ", ".join(f"{name} {value}".strip() for name, value in named.items() if value)
    missing = {"jetson": "l4t", "nvidia_gpu": "gpus"}.get(profile.kind)
    if missing in facts["absent"]:
        fix = f"is `kind: {profile.kind}` right? It shows no {'L4T release' if missing == 'l4t' else 'NVIDIA GPU'}"
        yield CheckLine(state="warning", what="board", seen=seen, fix=fix)
    else:
        yield CheckLine(state="ok", what="board", seen=seen)
    if profile.emulates is not None:
        seen = f"{profile.emulates.board}, {profile.emulates.slowdown:g} times slower than this machine"
        yield CheckLine(state="ok", what="emulates", seen=seen)
    if profile.kind == "jetson":
        yield _power_mode(machine)
    if temperatures := facts.get("temperature_c"):
        zone = max(temperatures, key=lambda name: temperatures[name])
        yield CheckLine(state="ok", what="temperature", seen=f"{temperatures[zone]:.1f} °C at most ({zone})")


def _power_mode(machine: Machine) -> CheckLine:
    others = ", ".join(map(str, jetson.power_modes(machine)))
    try:
        now = jetson.power_mode(machine)
    except DeviceError as error:
        fix = "without it the manifest does not say which mode was measured"
        return CheckLine(state="warning", what="power mode", seen=str(error), fix=fix)
    return CheckLine(state="ok", what="power mode", seen=f"{now}; the board has {others or 'no list of modes'}")


def _runtime(profile: Profile) -> Iterator[CheckLine]:
    wanted = str(profile.runtime.provider)
    name = PROVIDERS[wanted][0]
    there = onnxruntime.get_available_providers()
    listed = ", ".join(short for short, wants in PROVIDERS.items() if wants[0] in there)
    seen = f"onnxruntime {onnxruntime.__version__} with {listed}; the profile wants {wanted}"
    fix = f"install an onnxruntime with {wanted} on the node (docs/hardware.md), or set another `provider:`"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if name not in there:
        yield CheckLine(state="failed", what="runtime", seen=seen, fix=fix)
        return
    try:
        used = onnxruntime.InferenceSession(_IDENTITY, options, providers=[name]).get_providers()
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        yield CheckLine(state="failed", what="runtime", seen=f"{seen}, which fails: {error}", fix=fix)
        return
    if name in used:
        yield CheckLine(state="ok", what="runtime", seen=seen)
    else:
        fix = "its CUDA or TensorRT libraries do not load: run `ldconfig -p` on the node and compare the versions"
        yield CheckLine(state="failed", what="runtime", seen=f"{seen}, which is listed but does not load", fix=fix)


def _power(profile: Profile, seconds: float) -> Iterator[CheckLine]:
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
        yield _power_line(name, spec.rate_hz, capability, samples)


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


def _power_line(name: str, asked_hz: float, capability: Capability, samples: list[PowerRow]) -> CheckLine:
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


def _settings(profile: Profile, machine: Machine) -> Iterator[CheckLine]:
    for name, reason in unmet(machine, profile.settings).items():
        if reason is None:
            yield CheckLine(state="ok", what="setting", seen=f"{name} can be made, and put back after each repeat")
        else:
            fix = f"remedy that, or take it out of `{Settings.__name__.lower()}:` in the profile"
            yield CheckLine(state="failed", what="setting", seen=f"{name} cannot be made: {reason}", fix=fix)


def _throttle(facts: dict[str, Any]) -> Iterator[CheckLine]:
    counters: dict[str, int] = facts.get("throttle", {})
    if not counters:
        fix = "watch the spread between repeats: nothing else will show that it was slowed down"
        yield CheckLine(state="warning", what="throttling", seen="this machine shows no counter of it", fix=fix)
        return
    risen = {name: value for name, value in counters.items() if value > 0 and not name.endswith("total_trans")}
    if not risen:
        yield CheckLine(state="ok", what="throttling", seen=f"never since boot ({len(counters)} counters)")
        return
    seen = "since boot: " + ", ".join(f"{name} = {value}" for name, value in sorted(risen.items()))
    fix = "a run is invalid if they grow while it measures: look at supply, cooling and power mode"
    yield CheckLine(state="warning", what="throttling", seen=seen, fix=fix)


def _data_plane(profile: Profile) -> Iterator[CheckLine]:
    where = f"{profile.address}, port {profile.data_port or 'any'}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            profile.address, profile.data_port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        fix = "as `address:` name one that this node has (`ip addr` on it), as `data_port:` a free one"
        yield CheckLine(state="failed", what="data plane", seen=f"cannot listen on {where}: {error.strerror}", fix=fix)
        return
    if profile.reach != "local" and profile.address.startswith("127."):
        fix = "set `address:` to the one by which the edge reaches it, if it is to be the cloud"
        yield CheckLine(state="warning", what="data plane", seen=f"no other machine reaches {where}", fix=fix)
    else:
        yield CheckLine(state="ok", what="data plane", seen=f"as the cloud it can listen on {where}")


def _disk() -> Iterator[CheckLine]:
    folder = Path.cwd()  # of a worker too
    while not folder.is_mount():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    seen = f"{free / 1e9:.1f} GB free on {folder}, where it records"
    if free < MIN_FREE_BYTES:
        yield CheckLine(
            state="failed", what="disk", seen=seen, fix=f"make room: at least {MIN_FREE_BYTES / 1e9:.1f} GB"
        )
    else:
        yield CheckLine(state="ok", what="disk", seen=seen)


if __name__ == "__main__":
    sys.exit(main())
