"""The machine: what an earlier run left, the board, its settings, throttling, the data plane, the disk."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devices import jetson
from devices.base.errors import DeviceError
from devices.machine import Machine
from devices.profile import Profile, Settings
from devices.settings.applied import put_back_left_behind, unmet
from testbed.worker.check.answer import CheckLine

MIN_FREE_BYTES = 1 << 30


def check_journal(machine: Machine) -> Iterator[CheckLine]:
    """What earlier runs left changed; it is put back."""
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


def check_board(profile: Profile, machine: Machine, facts: dict[str, Any]) -> Iterator[CheckLine]:
    """Which board it is, in which power mode, how warm."""
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
        seen = f"{profile.emulates.board} ({profile.emulates.processor.upper()}): {profile.emulates.time.told}"
        yield CheckLine(state="ok", what="emulates", seen=seen)
    if profile.kind == "jetson":
        yield _power_mode(machine)
    if temperatures := facts.get("temperature_c"):
        zone = max(temperatures, key=lambda name: temperatures[name])
        yield CheckLine(state="ok", what="temperature", seen=f"{temperatures[zone]:.1f} °C at most ({zone})")


def check_settings(profile: Profile, machine: Machine) -> Iterator[CheckLine]:
    """Whether the profile's settings can be made, without making them."""
    for name, reason in unmet(machine, profile.settings).items():
        if reason is None:
            yield CheckLine(state="ok", what="setting", seen=f"{name} can be made, and put back after each repeat")
        else:
            fix = f"remedy that, or take it out of `{Settings.__name__.lower()}:` in the profile"
            yield CheckLine(state="failed", what="setting", seen=f"{name} cannot be made: {reason}", fix=fix)


def check_throttle(facts: dict[str, Any]) -> Iterator[CheckLine]:
    """Whether the machine was slowed down since it booted."""
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


def check_data_plane(profile: Profile) -> Iterator[CheckLine]:
    """Whether the node can be the cloud at the address that the profile names; an edge needs none."""
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
    if profile.reach != "local" and profile.on_loopback:
        seen = f"for an edge; no other machine reaches {where}, so a cloud needs `address:` in its profile"
        yield CheckLine(state="ok", what="data plane", seen=seen)
    else:
        yield CheckLine(state="ok", what="data plane", seen=f"as the cloud it can listen on {where}")


def check_disk() -> Iterator[CheckLine]:
    """Whether there is room to record."""
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


def _power_mode(machine: Machine) -> CheckLine:
    others = ", ".join(map(str, jetson.power_modes(machine)))
    try:
        now = jetson.power_mode(machine)
    except DeviceError as error:
        fix = "without it the manifest does not say which mode was measured"
        return CheckLine(state="warning", what="power mode", seen=str(error), fix=fix)
    return CheckLine(state="ok", what="power mode", seen=f"{now}; the board has {others or 'no list of modes'}")
