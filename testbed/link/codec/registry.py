"""Every codec by its name: the testbed's own, and those of packages and files.

A package adds one by an entry point `NAME = "module:CODEC"` in the group `testbed.codecs`. `CODEC` is a `Codec` of that
name. The package must be installed on both nodes and on the workstation. A file (devices/base/plugins.py) is sent
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.base.plugins import called, plugins, refuse_taken, registry
from testbed.link.codec.entropy import Entropy
from testbed.link.codec.plain import Float32, Packed
from testbed.link.codec.protocol import Codec, CodecError
from testbed.link.codec.sparse import Sparse

GROUP = "testbed.codecs"
AUTO = "auto"
PLAIN: dict[str, Codec] = {codec.name: codec for codec in (Float32(), Packed(), Sparse())}
"""Codecs that need nothing of the model but the shape of its code."""

NEED_RATES = (Entropy.name, AUTO)
"""Names of those that need the model's spike rates."""

SERIAL = (Entropy.name, AUTO)
"""Names of those that code element by element, each after the one before it; `auto` tries one of them."""

OUTSIDE_IDS = range(64, 256)
"""Numbers in the frame header that packages may take; the others are the testbed's."""


@registry
def plain_codecs() -> Mapping[str, Codec]:
    """Name → codec of those that work without a model; what others add is looked for once.

    Raises:
        CodecError: what somebody adds is no codec, or takes a number that another has.
        TestbedError: it cannot be loaded, or takes a name that another has.
    """
    found = dict(PLAIN)
    refuse_taken(GROUP, (*PLAIN, *NEED_RATES))
    for name, codec in plugins(GROUP).items():
        _check(name, codec, found)
        found[name] = codec
    return found


def codec_names() -> tuple[str, ...]:
    """The names that `codec:` may have in an experiment, the testbed's own first."""
    return (*PLAIN, *NEED_RATES, *(name for name in plain_codecs() if name not in PLAIN))


def codec_named(name: str) -> Codec:
    """A codec that needs no spike rates.

    Raises:
        CodecError: there is none of that name.
    """
    codecs = plain_codecs()
    if name not in codecs:
        raise CodecError(f"no codec named {name!r} works without a model; there is {', '.join(codecs)}")
    return codecs[name]


def _check(name: str, codec: Any, others: Mapping[str, Codec]) -> None:
    missing = [part for part in ("encode", "decode", "payload_bytes") if not callable(getattr(codec, part, None))]
    if missing or isinstance(codec, type) or getattr(codec, "name", None) != name:
        raise CodecError(
            f"{called(GROUP, name)} is no codec: it must be an object with name={name!r}, wire_id, encode, decode "
            " and payload_bytes (docs/extending.md)"
        )
    if getattr(codec, "wire_id", None) not in OUTSIDE_IDS:
        raise CodecError(
            f"{called(GROUP, name)} has wire_id {getattr(codec, 'wire_id', None)}; "
            f"take one from {OUTSIDE_IDS[0]} to {OUTSIDE_IDS[-1]}"
        )
    if same := [other.name for other in others.values() if other.wire_id == codec.wire_id]:
        raise CodecError(f"{called(GROUP, name)} has the wire_id {codec.wire_id} of {same[0]!r}; change one")
