"""What only a Jetson has: its L4T release, its power modes, and the tools that set them."""

from __future__ import annotations

import re
from typing import NamedTuple

from devices.base.errors import DeviceError
from devices.machine import Machine, last_line

CONF = "etc/nvpmodel.conf"
_MODEL = re.compile(r"^<\s*POWER_MODEL\s+([^>]*)>")
_QUERY = re.compile(r"NV Power Mode\s*:[ \t]*(.*)\n\s*(\d+)")
_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


class PowerMode(NamedTuple):
    """One of `nvpmodel`'s modes."""

    id: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


def l4t_release(machine: Machine, packages: dict[str, str]) -> str | None:
    """The release of Jetson Linux, as 36.4.3: from /etc/nv_tegra_release, else from the installed package."""
    found = _RELEASE.search(machine.text("etc/nv_tegra_release") or "")
    if found:
        return f"{found[1]}.{found[2]}"
    # The package's version is 36.4.3-20250107174145.
    return packages.get("nvidia-l4t-core", "").partition("-")[0] or None


def power_modes(machine: Machine) -> list[PowerMode]:
    """The modes that /etc/nvpmodel.conf defines, by id; empty where there is no such file."""
    modes = []
    for line in (machine.text(CONF) or "").splitlines():
        if model := _MODEL.match(line.strip()):
            fields = dict(part.split("=", 1) for part in model[1].split() if "=" in part)
            if fields.get("ID", "").isdigit() and "NAME" in fields:
                modes.append(PowerMode(int(fields["ID"]), fields["NAME"]))
    return sorted(modes)


def power_mode(machine: Machine) -> PowerMode:
    """The present mode.

    Raises:
        DeviceError: `nvpmodel -q` is not there or does not say.
        NeedsRootError: it says so to root alone, as on some releases.
    """
    done = machine.run("nvpmodel", "-q")
    if not _QUERY.search(done.output) and not machine.is_root:
        done = machine.run("nvpmodel", "-q", as_root=True)
    found = _QUERY.search(done.output)
    if not found:
        raise DeviceError(f"nvpmodel -q does not name the power mode; it said: {last_line(done.output)}")
    return PowerMode(int(found[2]), found[1].strip())


def find_mode(machine: Machine, wanted: int | str) -> PowerMode:
    """The mode with this id or name.

    Raises:
        DeviceError: there is none; the text lists those that there are.
    """
    modes = power_modes(machine)
    for mode in modes:
        if wanted in (mode.id, mode.name):
            return mode
    listed = ", ".join(map(str, modes)) or f"none, as there is no /{CONF}"
    raise DeviceError(f"no power mode {wanted} on this board; it has {listed}")


def set_power_mode(machine: Machine, mode: PowerMode) -> None:
    """Change to a mode, and see that it is so.

    Raises:
        DeviceError: nvpmodel refuses, or would have to reboot the board.
        NeedsRootError: root alone may.
    """
    # A mode that gates other GPU clusters asks whether to reboot now and takes "yes" for it; anything else
    # leaves the mode as it was.
    done = machine.run("nvpmodel", "-m", str(mode.id), as_root=True, answer="no\n")
    now = power_mode(machine)
    if now.id == mode.id:
        return
    if "reboot" in done.output.lower():
        raise DeviceError(
            f"power mode {mode} would need a reboot, which the testbed never does; set it yourself with "
            f"`sudo nvpmodel -m {mode.id}`, or name another mode (now: {now})"
        )
    raise DeviceError(f"nvpmodel -m {mode.id} left the power mode at {now}; it said: {last_line(done.output)}")


def describe_power_mode(machine: Machine) -> dict[str, object] | None:
    """The present mode and all modes, for the manifest; None where nvpmodel cannot be asked."""
    try:
        now = power_mode(machine)
    except DeviceError:
        return None
    return {"id": now.id, "name": now.name, "modes": {str(mode.id): mode.name for mode in power_modes(machine)}}


def gates_differ(machine: Machine, one: PowerMode, other: PowerMode) -> bool:
    """Whether two modes power other parts of the GPU: what nvpmodel cannot change once the GPU has been used."""
    masks: dict[int, set[str]] = {}
    inside: int | None = None
    for line in (machine.text(CONF) or "").splitlines():
        if model := _MODEL.match(line.strip()):
            inside = next((int(part[3:]) for part in model[1].split() if re.fullmatch(r"ID=\d+", part)), None)
        elif line.startswith("<"):
            inside = None
        elif inside is not None and re.search(r"\w+_PG_MASK\s+\d+", line):
            masks.setdefault(inside, set()).add(" ".join(line.split()))
    return masks.get(one.id) != masks.get(other.id)
