"""What differs between two cells beside their numbers: configuration, model, data, code, link and nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from testbed.record.documents import Manifest
from testbed.record.noderecord import NodeRecord

_OF_A_MODEL = ("op_counts", "code_rates", "trained", "files", "accuracy_per_timestep")
"""What the hash of a model stands for."""

_FLEETING = ("absent", "temperature_c", "voltage_mv", "throttle", "clocks_mhz", "fan")
"""What a board says of itself that differs from minute to minute."""


class FactDifference(NamedTuple):
    """A fact that differs, by its place in the manifest; None where one side does not have it."""

    name: str
    a: str | None
    b: str | None


def differing_facts(one: Manifest, other: Manifest) -> list[FactDifference]:
    """The facts that differ between two cells, in the order of their names."""
    a, b = (dict(_flat("", _facts(manifest))) for manifest in (one, other))
    return [FactDifference(name, a.get(name), b.get(name)) for name in sorted(a | b) if a.get(name) != b.get(name)]


def _facts(manifest: Manifest) -> dict[str, Any]:
    config = msgspec.to_builtins(manifest.config)
    model = msgspec.to_builtins(manifest.model)
    roles: dict[str, Any] = {}
    for role in manifest.mode_facts.roles:
        nodes = manifest.role(role)
        for number, node in enumerate(nodes):
            roles[role if len(nodes) == 1 else f"{role}{number + 1}"] = _node(node)
    return {
        "config": {name: value for name, value in config.items() if name not in ("position", "baseline")},
        "repeats": manifest.repeats,
        "model": {name: value for name, value in model.items() if name not in _OF_A_MODEL},
        "dataset": msgspec.to_builtins(manifest.dataset),
        "code": msgspec.to_builtins(manifest.code),
        "link": manifest.link.requested,
        "nodes": roles,
    }


def _node(node: NodeRecord) -> dict[str, Any]:
    """Its profile, and what it said of itself in its first repeat."""
    said = [node.repeats[name] for name in sorted(node.repeats, key=int)][:1]
    facts: dict[str, Any] = {"id": node.id, "profile": msgspec.to_builtins(node.profile)}
    for repeat in said:
        others = {name: value for name, value in repeat.hello.board.others.items() if name not in _FLEETING}
        form = repeat.loaded.backbone
        facts |= {"python": repeat.hello.python, "versions": repeat.hello.versions, "board": others}
        facts |= {"shaping": repeat.loaded.shaping, "backbone": None if form is None else form.form}
    return facts


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of a document by their dotted names, as text; what is not said has none."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), each)
    elif value is not None:
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()
