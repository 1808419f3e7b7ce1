"""What a profile says of one power source: the base that each source's own spec extends.

A spec travels as JSON with its profile. `source:` tells which one it is.
"""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import msgspec

Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\S")]
Milliwatts: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e8)]
Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=60_000)]
Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class PowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="source"):
    """One source; a subclass sets `tag`, the name that profiles use, and adds its own fields.

    `rate_hz` is how often it is read. `max_mw` is what a rail of it can draw at all, where the testbed's own limit does
    not fit (docs/power.md). No number of a spec may be infinite.
    """

    rate_hz: Rate
    max_mw: Annotated[float, msgspec.Meta(gt=0, le=1e8)] | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, float) and not math.isfinite(value):
                raise wrong(f"Expected a finite number, got {value}", f".{field}")

    @property
    def source(self) -> str:
        """The name of the source, in profiles and in the record."""
        return str(self.__struct_config__.tag)


class UnknownPower(PowerSpec, frozen=True, kw_only=True, forbid_unknown_fields=False, tag_field=None, tag=False):
    """A source that nothing here gives: its plug-in is on another machine. Its results can be read all the same."""

    source: str


def wrong(message: str, at: str) -> ValueError:
    """What a struct's own check raises; worded as msgspec does, so that a file's reader finds the line of both."""
    return ValueError(f"{message} - at `${at}`")
