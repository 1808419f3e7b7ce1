"""What a node is: how it is reached, what it runs on, what meters it. The files are devices/*.yaml.

A profile also travels as JSON: to the worker in a control message, and into the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from devices import yamlfile
from devices.base.providers import Provider, TorchDevice
from devices.power.emulated import EmulatedPower
from devices.power.nvml import NvmlPower as NvmlPower
from devices.power.sources import refuse_unknown, sources, to_spec
from devices.power.spec import PowerSpec, Text, UnknownPower, wrong
from devices.timemodel import TimeModel
from devices.yamlstruct import finite, instead, locate

Kind: TypeAlias = Literal["jetson", "host", "nvidia_gpu", "emulated"]
ItemT = TypeVar("ItemT")
SeenT = TypeVar("SeenT")

if TYPE_CHECKING:
    Power: TypeAlias = list[PowerSpec]
else:
    # Which specs there are is known when a profile is read, not when this is imported: plug-ins add to them.
    Power = list[dict[str, Any]]


class SshReach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that is reached over SSH; `ssh` is the host as `ssh` and its config know it."""

    # A leading dash would be read as an option.
    ssh: Annotated[str, msgspec.Meta(pattern=r"^[^-\s]\S*$")]


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What executes the step graphs on the node; `device` is what PyTorch computes on, where it is the provider."""

    provider: Provider
    device: TorchDevice | None = None
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1

    @property
    def told(self) -> str:
        """The provider for people, with its device where that says more."""
        return self.provider if self.device is None else f"{self.provider} on {self.device}"


class Emulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The board that an emulated node stands for: what its step graphs run on, and how long it takes (`time`)."""

    board: Text
    processor: Literal["cpu", "gpu"]
    time: TimeModel


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is set on the node for each repeat and put back after it; None or False: left as it is.

    `nvpmodel` is the id or name of a power mode; `jetson_clocks` fixes a Jetson's clocks at the most that the power
    mode allows; `cpu_governor` is of every CPU; `gpu_clocks_mhz` locks the clock of the NVIDIA GPU number `gpu`.
    """

    nvpmodel: Annotated[int, msgspec.Meta(ge=0, le=255)] | Text | None = None
    jetson_clocks: bool = False
    cpu_governor: Text | None = None
    gpu_clocks_mhz: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    gpu: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node.

    `python` is the interpreter on the node (None: the orchestrator's own, or python3 over SSH); `address` is where
    other nodes reach its data plane, and `data_port` 0 is any free port. `folder` is where a node over SSH keeps the
    testbed's files and its lease (None: ~/.cache/neucodex, with the lease where every user of the machine sees it).
    With an empty `power` the node is not metered and its energy stays blank. `root` is where /sys, /proc and /etc are
    looked for on the node: anything but / is a made-up tree, for tests, and the manifest shows it.
    """

    name: Annotated[Text, msgspec.Meta(max_length=64)]
    kind: Kind
    reach: Literal["local"] | SshReach
    runtime: Runtime
    python: Text | None = None
    address: Text = "127.0.0.1"
    data_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    folder: Text | None = None
    root: Text = "/"
    power: Power = []
    emulates: Emulation | None = None
    settings: Settings = Settings()

    @property
    def on_loopback(self) -> bool:
        """Whether no other machine reaches its data plane."""
        return self.address in ("localhost", "::1") or self.address.startswith("127.")

    def __post_init__(self) -> None:
        power = [
            item if isinstance(item, PowerSpec) else _at(f".power[{index}]", to_spec, item)
            for index, item in enumerate(self.power)
        ]
        msgspec.structs.force_setattr(self, "power", power)
        if self.runtime.provider == "torch" and self.runtime.device is None:
            raise wrong("Expected `device: cpu` or `device: cuda` beside `provider: torch`", ".runtime")
        if self.runtime.provider != "torch" and self.runtime.device is not None:
            raise wrong(
                f"Expected `device:` beside provider torch only, not {self.runtime.provider}", ".runtime.device"
            )
        for key, kind in (("nvpmodel", "jetson"), ("jetson_clocks", "jetson"), ("gpu_clocks_mhz", "nvidia_gpu")):
            if getattr(self.settings, key) not in (None, False) and self.kind != kind:
                raise wrong(f"Expected `{key}:` on kind {kind} only, not on {self.kind}", f".settings.{key}")
        emulated = self.kind == "emulated"
        if emulated and self.emulates is None:
            raise wrong("Expected `emulates:` beside `kind: emulated`", ".kind")
        if not emulated and self.emulates is not None:
            raise wrong(f"Expected `emulates:` on kind emulated only, not on {self.kind}", ".emulates")
        for index, spec in enumerate(self.power):
            if isinstance(spec, EmulatedPower) != emulated and not isinstance(spec, UnknownPower):
                raise wrong(f"An emulated power source goes with kind emulated, not {self.kind}", f".power[{index}]")
            on_gpu = self.emulates is not None and self.emulates.processor == "gpu"
            if isinstance(spec, EmulatedPower) and on_gpu and spec.gpu_busy_mw is None:
                raise wrong("Expected `gpu_busy_mw:` beside `processor: gpu`", f".power[{index}]")


def load_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        YamlError: `FILE:LINE: what was expected`.
    """
    document = yamlfile.load(path)
    try:
        finite(document.data, "")
        profile = msgspec.convert(document.data, Profile)
        for index, spec in enumerate(profile.power):
            _at(f".power[{index}]", refuse_unknown, spec)
    except (msgspec.ValidationError, ValueError) as error:
        message, key_path = locate(str(error))
        raise document.error(key_path, message + _instead(message, key_path, document.data)) from error
    return profile


def _instead(message: str, keys: Sequence[str | int], data: Any) -> str:
    """What a profile may say where it says a word that it may not, as the end of the message."""
    struct: type[msgspec.Struct] = Profile
    if keys[:1] == ["power"] and len(keys) > 1:
        spec = sources().get(str(data["power"][keys[1]].get("source")))
        if spec is None:
            return ""
        struct, keys = spec.Spec, keys[2:]
    return instead(message, struct, keys)


def _at(place: str, check: Callable[[ItemT], SeenT], item: ItemT) -> SeenT:
    """Check one part of a document; what is wrong with it is said to lie in `place`."""
    try:
        return check(item)
    except (msgspec.ValidationError, ValueError) as error:
        raise wrong(str(error), place) from error
