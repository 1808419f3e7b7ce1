"""Links by the name of a shipped profile, by a profile of one's own, or by a trace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from devices import yamlfile
from devices.base.errors import DeviceError
from devices.links.conditions import Direction, Link
from devices.links.points import constant
from devices.links.spec import DirectionSpec, LinkSpec, Way
from devices.links.traces import read_trace
from devices.yamlstruct import finite, instead, locate
from devices.yamltext import YamlError, shown

FOLDER = Path(__file__).parent
PROFILES = (".yaml", ".yml")
PAIR = (".up", ".down")
"""Endings of the two files of a mahimahi trace."""


def link_names() -> list[str]:
    """The links that ship with the testbed."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_link(which: str | Path, base: Path | None = None) -> Link:
    """A link in the one form that shapers impose.

    Args:
        which: The name of a shipped profile; or a profile (*.yaml) or trace, seen from `base`. `./wifi` is a file.
        base: A folder; None: the working one.

    Raises:
        YamlError: a profile says what it may not (`FILE:LINE: what was expected`), or its trace does.
        DeviceError: a trace cannot be read, or there is no such link.
    """
    if isinstance(which, str) and which in link_names():
        return _profile(FOLDER / f"{which}.yaml")
    path = (base or Path()) / which
    if path.suffix in PROFILES:
        return _profile(path)
    if "/" not in str(which) and "\0" not in str(which) and not path.exists():
        raise DeviceError(
            f"no link named `{shown(str(which))}`, and no such file in {base or 'this folder'}; "
            f"expected {', '.join(link_names())}, a profile (*.yaml) or a trace"
        )
    return _bare_trace(path)


def _profile(path: Path) -> Link:
    document = yamlfile.load(path)
    try:
        finite(document.data, "")
        spec = msgspec.convert(document.data, LinkSpec)
    except (msgspec.ValidationError, ValueError) as error:
        message, key_path = locate(str(error))
        raise document.error(key_path, message + instead(message, LinkSpec, key_path)) from error
    return Link(
        name=spec.name,
        technology=spec.technology,
        up=_direction(document, spec.up, "up"),
        down=_direction(document, spec.down, "down"),
        mtu=spec.mtu,
        seed=spec.seed,
        source=" ".join(spec.source.split()),
        licence=spec.licence,
    )


def _direction(document: yamlfile.Document, spec: DirectionSpec, way: Way) -> Direction:
    capacity = None if spec.mbit_s is None else constant(spec.mbit_s)
    if spec.trace is not None:
        try:
            capacity = read_trace(document.path.parent / spec.trace, way, spec.format)
        except DeviceError as error:
            raise document.error((way, "trace"), f"{way}.trace: {error}") from error
    return Direction(
        capacity=capacity,
        delay_ms=spec.delay_ms,
        jitter_ms=spec.jitter_ms,
        loss=spec.loss,
        queue_ms=spec.queue_ms,
    )


def _bare_trace(path: Path) -> Link:
    """A link that is nothing but a trace: no delay, no loss, and no claim of what it is."""
    if path.suffix in PAIR:
        up, down = (path.with_suffix(ending) for ending in PAIR)
        other = down if path == up else up
        if path.exists() and not other.exists():
            raise DeviceError(
                f"{path}: expected {other.name} beside it, for the other direction; or name it in a profile"
            )
        source = f"trace files {up.name} and {down.name}"
    else:
        up = down = path
        source = f"trace file {path.name}, for both directions"
    return Link(
        name=shown(path.stem),
        technology="other",
        up=Direction(capacity=read_trace(up, "up")),
        down=Direction(capacity=read_trace(down, "down")),
        source=source,
    )


__all__ = ["YamlError", "link_names", "load_link"]
