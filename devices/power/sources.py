"""Every power source, by the name that profiles use: the testbed's own, and those of plug-ins.

A plug-in is a package with an entry point `NAME = "module:Class"` in the group `testbed.power_sources`, or a file
(devices/base/plugins.py). `Class` has
`Spec`, a `PowerSpec` with `tag="NAME"`, and is constructed and used as `devices.power.source.PowerSource` says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from devices.base.errors import DeviceError
from devices.base.plugins import called, registry, with_plugins
from devices.power.emulated import EmulatedSource
from devices.power.ina import InaSource
from devices.power.jtop import JtopSource
from devices.power.meter import ScpiMeterSource
from devices.power.nvml import NvmlSource
from devices.power.rapl import RaplSource
from devices.power.source import PowerSource, SourceType, Surroundings
from devices.power.spec import PowerSpec, UnknownPower, wrong
from devices.power.tegrastats import TegrastatsSource

GROUP = "testbed.power_sources"

OWN: Mapping[str, SourceType] = {
    "emulated": EmulatedSource,
    "ina": InaSource,
    "tegrastats": TegrastatsSource,
    "jtop": JtopSource,
    "nvml": NvmlSource,
    "rapl": RaplSource,
    "scpi": ScpiMeterSource,
}


@registry
def sources() -> Mapping[str, SourceType]:
    """Name → source; what others add is looked for once.

    Raises:
        DeviceError: a plug-in is no power source.
        TestbedError: a plug-in cannot be loaded.
    """
    found = with_plugins(GROUP, OWN)
    for name, source in found.items():
        spec = getattr(source, "Spec", None)
        if not (isinstance(spec, type) and issubclass(spec, PowerSpec) and spec.__struct_config__.tag == name):
            raise DeviceError(
                f"{called(GROUP, name)} is no power source: its class needs `Spec`, a PowerSpec with "
                f"tag={name!r} (docs/extending.md)"
            )
    return found


def to_spec(document: Mapping[str, Any]) -> PowerSpec:
    """The spec of one item of a profile's `power:`; `UnknownPower` where nothing here gives such a source.

    Raises:
        ValueError: an item without `source`.
        msgspec.ValidationError: it is not what the source asks for.
    """
    if "source" not in document:
        raise ValueError("Object missing required field `source`")
    source = sources().get(str(document["source"]))
    return msgspec.convert(document, UnknownPower if source is None else source.Spec)


def refuse_unknown(spec: PowerSpec) -> None:
    """Make sure that a source can be read here.

    Raises:
        ValueError: nothing here gives it.
    """
    if isinstance(spec, UnknownPower):
        raise wrong(
            f"Invalid value {spec.source!r}: there is {', '.join(sources())}; "
            "or name the file that adds it (`plugins`, --plugin), or install its package (docs/extending.md)",
            ".source",
        )


def open_source(spec: PowerSpec, surroundings: Surroundings) -> PowerSource:
    """The source that a spec asks for, not yet probed.

    Raises:
        DeviceError: nothing on this node gives it.
    """
    if spec.source not in sources():
        raise DeviceError(
            f"there is no power source {spec.source!r} on this node (there is {', '.join(sources())}); "
            f"name the file that adds it in `plugins`, or install its package for {sys.executable}"
        )
    return sources()[spec.source](spec, surroundings)
