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
from devices.base.power import MeasuredScope
from devices.base.providers import Provider

Kind: TypeAlias = Literal["jetson", "host", "nvidia_gpu", "emulated"]
Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\S")]
Milliwatts: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class SshReach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that is reached over SSH; `ssh` is the host as `ssh` and its config know it."""

    # A leading dash would be read as an option.
    ssh: Annotated[str, msgspec.Meta(pattern=r"^[^-\s]\S*$")]


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What executes the step graphs on the node."""

    provider: Provider
    threads: Annotated[int, msgspec.Meta(ge=1)] = 1


class EmulatedPower(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="emulated"
):
    """A power model in place of a sensor.

    `idle_mw` and `busy_mw` are the rail's power while the node waits and while it computes; `radio_mw`
    is what the radio adds while it is on. `reference` names the published source of the figures.
    """

    rail: Text
    rate_hz: Rate
    idle_mw: Milliwatts
    busy_mw: Milliwatts
    radio_mw: Milliwatts
    reference: Text

    def __post_init__(self) -> None:
        _finite(self, "rate_hz", "idle_mw", "busy_mw", "radio_mw")
        if self.busy_mw < self.idle_mw:
            raise _wrong(f"Expected at least idle_mw ({self.idle_mw:g}), got {self.busy_mw:g}", ".busy_mw")


class InaPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="ina"):
    """A Jetson's own INA3221 and INA238 power monitors, read through sysfs.

    `board` names the board where the device tree does not (None: the device tree's). `rails` gives rails their scope in
    place of what `devices.power.rails` knows of the board; those not named are parts. `shunt_mohm` are shunt resistors
    in place of those that the driver tells. `shunt_tolerance` is their tolerance, which adds to the gain error; NVIDIA
    publishes none, and 0 leaves it out of the interval.
    """

    rate_hz: Rate
    board: Text | None = None
    rails: dict[Text, MeasuredScope] = {}
    shunt_mohm: dict[Text, Annotated[float, msgspec.Meta(gt=0)]] = {}
    shunt_tolerance: Share = 0.0

    def __post_init__(self) -> None:
        _finite(self, "rate_hz", "shunt_tolerance")


class TegrastatsPower(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="tegrastats"
):
    """NVIDIA's tegrastats, run by the sampler; `--interval` is added to `command`, in whole ms.

    `board` names the board where the device tree does not (None: the device tree's). `rails` gives rails their scope in
    place of what `devices.power.rails` knows of the board; those not named are parts.
    """

    # One line a second is tegrastats' own interval; a read of four rails takes a few ms.
    rate_hz: Annotated[float, msgspec.Meta(ge=1, le=100)]
    command: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] = ("tegrastats",)
    board: Text | None = None
    rails: dict[Text, MeasuredScope] = {}

    def __post_init__(self) -> None:
        _finite(self, "rate_hz")


class JtopPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="jtop"):
    """The service of jetson-stats, which advises 500 ms or more. `board` and `rails` are as for tegrastats."""

    rate_hz: Annotated[float, msgspec.Meta(ge=0.2, le=2)]
    board: Text | None = None
    rails: dict[Text, MeasuredScope] = {}

    def __post_init__(self) -> None:
        _finite(self, "rate_hz")


class NvmlPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="nvml"):
    """One NVIDIA GPU, read through its driver's NVML.

    `gpu` is NVML's index, or a UUID as `nvidia-smi -L` prints it, which a reboot does not change. `gain` is how far a
    reading may be off, relative: 0.05 is what NVML's documentation has stated (of Fermi and Kepler; of later GPUs
    it states nothing).
    """

    rate_hz: Rate
    gpu: Annotated[int, msgspec.Meta(ge=0)] | Text = 0
    gain: Share = 0.05

    def __post_init__(self) -> None:
        _finite(self, "rate_hz", "gain")


class RaplPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="rapl"):
    """An x86 processor's own energy counters, read through the kernel's powercap.

    `gain` is how far they may be off, relative; the maker states nothing, so the profile has to. `rails` gives zones
    their scope in place of the usual ones; those not named are parts.
    """

    rate_hz: Rate
    gain: Share
    rails: dict[Text, MeasuredScope] = {}

    def __post_init__(self) -> None:
        _finite(self, "rate_hz", "gain")


class ScpiMeterPower(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source", tag="scpi"
):
    """A power meter or bench supply that answers SCPI over a TCP socket.

    `query` asks for one power, in `unit`; `setup` are commands sent once before. `scope` says what stands behind the
    meter. `gain` (relative), `offset_mw` and `lsb_mw` bound the error of a reading and `averaging_ms` is the time it is
    a mean over: all from the instrument's data sheet, which `reference` names.
    """

    host: Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5025
    query: Text = "MEAS:POW?"
    setup: list[Text] = []
    unit: Literal["W", "mW"] = "W"
    rail: Text = "METER"
    scope: MeasuredScope = "wall"
    rate_hz: Rate
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=5)] = 1.0
    gain: Share
    offset_mw: Milliwatts
    lsb_mw: Milliwatts = 0.0
    averaging_ms: Milliseconds | None = None
    reference: Text

    def __post_init__(self) -> None:
        _finite(self, "rate_hz", "timeout_s", "gain", "offset_mw", "lsb_mw")
        if self.averaging_ms is not None:
            _finite(self, "averaging_ms")


PowerSpec: TypeAlias = EmulatedPower | InaPower | TegrastatsPower | JtopPower | NvmlPower | RaplPower | ScpiMeterPower
"""The union of all power sources, told apart by their `source:`."""


class Emulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The board that an emulated node stands for: computing takes `slowdown` times as long as on the host."""

    board: Text
    slowdown: Annotated[float, msgspec.Meta(ge=1)]
    slowdown_source: Text

    def __post_init__(self) -> None:
        _finite(self, "slowdown")


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


def _finite(spec: msgspec.Struct, *fields: str) -> None:
    for field in fields:
        value = getattr(spec, field)
        if not math.isfinite(value):
            raise _wrong(f"Expected a finite number, got {value}", f".{field}")


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
