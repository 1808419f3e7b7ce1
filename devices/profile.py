"""What a node is: how it is reached, what it runs on, what meters it. The files are devices/*.yaml.

A profile also travels as JSON: to the worker in a control message, and into the manifest.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from devices import yamlfile

Kind: TypeAlias = Literal["jetson", "host", "nvidia_gpu", "emulated"]
Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\S")]
Milliwatts: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


class SshReach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that is reached over SSH; `ssh` is the host as `ssh` and its config know it."""

    # A leading dash would be read as an option.
    ssh: Annotated[str, msgspec.Meta(pattern=r"^[^-\s]\S*$")]


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What executes the step graphs on the node."""

    provider: Literal["cpu"]
    threads: Annotated[int, msgspec.Meta(ge=1)] = 1


class EmulatedPower(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="emulated"
):
    """A power model in place of a sensor.

    `idle_mw` and `busy_mw` are the rail's power while the node waits and while it computes; `radio_mw`
    is what the radio adds while it is on. `reference` names the published source of the figures.
    """

    rail: Text
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    idle_mw: Milliwatts
    busy_mw: Milliwatts
    radio_mw: Milliwatts
    reference: Text

    def __post_init__(self) -> None:
        for field in ("rate_hz", "idle_mw", "busy_mw", "radio_mw"):
            if not math.isfinite(getattr(self, field)):
                raise _wrong(f"Expected a finite number, got {getattr(self, field)}", f".{field}")
        if self.busy_mw < self.idle_mw:
            raise _wrong(f"Expected at least idle_mw ({self.idle_mw:g}), got {self.busy_mw:g}", ".busy_mw")


PowerSpec: TypeAlias = EmulatedPower
"""The union of all power sources, told apart by their `source:`."""


class Emulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The board that an emulated node stands for: computing takes `slowdown` times as long as on the host."""

    board: Text
    slowdown: Annotated[float, msgspec.Meta(ge=1)]
    slowdown_source: Text

    def __post_init__(self) -> None:
        if not math.isfinite(self.slowdown):
            raise _wrong(f"Expected a finite number, got {self.slowdown}", ".slowdown")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is set on the node for each repeat and put back after it; None or False: left as it is.

    `nvpmodel` is the id or name of a power mode; `jetson_clocks` fixes a Jetson's clocks at the most that the power
    mode allows; `cpu_governor` is of every CPU; `gpu_clocks_mhz` locks the clock of the NVIDIA GPU number `gpu`.
    """

    nvpmodel: Annotated[int, msgspec.Meta(ge=0)] | Text | None = None
    jetson_clocks: bool = False
    cpu_governor: Text | None = None
    gpu_clocks_mhz: Annotated[int, msgspec.Meta(ge=1)] | None = None
    gpu: Annotated[int, msgspec.Meta(ge=0)] = 0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node.

    `python` is the interpreter on the node (None: the orchestrator's own, or python3 over SSH); `address` is where
    other nodes reach its data plane, and `data_port` 0 is any free port. `folder` is where a node over SSH keeps the
    testbed's files and its lease (None: ~/.cache/neucodex, with the lease where every user of the machine sees it).
    With an empty `power` the node is not metered and its energy stays blank. `root` is where /sys, /proc and /etc are
    looked for on the node: anything but / is a made-up tree, for tests, and the manifest shows it.
    """

    name: Text
    kind: Kind
    reach: Literal["local"] | SshReach
    runtime: Runtime
    python: Text | None = None
    address: Text = "127.0.0.1"
    data_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    folder: Text | None = None
    root: Text = "/"
    power: list[PowerSpec] = []
    emulates: Emulation | None = None
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        for key, kind in (("nvpmodel", "jetson"), ("jetson_clocks", "jetson"), ("gpu_clocks_mhz", "nvidia_gpu")):
            if getattr(self.settings, key) not in (None, False) and self.kind != kind:
                raise _wrong(f"Expected `{key}:` on kind {kind} only, not on {self.kind}", f".settings.{key}")
        emulated = self.kind == "emulated"
        if emulated and self.emulates is None:
            raise _wrong("Expected `emulates:` beside `kind: emulated`", ".kind")
        if not emulated and self.emulates is not None:
            raise _wrong(f"Expected `emulates:` on kind emulated only, not on {self.kind}", ".emulates")
        for index, spec in enumerate(self.power):
            if isinstance(spec, EmulatedPower) != emulated:
                raise _wrong(f"An emulated power source goes with kind emulated, not {self.kind}", f".power[{index}]")


def load_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        YamlError: `FILE:LINE: what was expected`.
    """
    document = yamlfile.load(path)
    try:
        return msgspec.convert(document.data, Profile)
    except msgspec.ValidationError as error:
        message, key_path = _locate(str(error))
        raise document.error(key_path, message) from error


def _wrong(message: str, at: str) -> ValueError:
    # The way msgspec words its own, so that a file's reader finds the line of both alike.
    return ValueError(f"{message} - at `${at}`")


def _locate(text: str) -> tuple[str, list[str | int]]:
    """Split a msgspec message into what is wrong and the keys that lead there."""
    message, *locations = re.split(r" - at `(?:key in )?\$([^`]*)`", text)
    # Outermost last: a struct's own check comes first, the place of that struct follows.
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", "".join(reversed([at for at in locations if at])))
    keys: list[str | int] = [name or int(index) for name, index in steps]
    if unknown := re.search(r"unknown field `(.*)`", message):
        keys.append(unknown[1])
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return (f"{where}: {message}" if where else message), keys
