"""The nodes of a campaign: what each is, its state while it was measured, and how its power was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from analysis.texts import significant
from testbed.record.noderecord import NodeRecord, NodeRepeat
from testbed.record.power import left_out
from testbed.record.reader import Cell

Line: TypeAlias = tuple[str, list[str]]
"""A name and what is to be said of it; each distinct text once."""

_MACHINE = ("board_model", "cpu_model", "gpus", "l4t", "jetpack", "os", "kernel", "nvidia_driver", "power_mode")


@dataclass(frozen=True)
class Node:
    """One node with all that is said of it."""

    id: str
    roles: list[str]
    emulated: bool
    what: list[Line]
    state: list[Line]
    power: list[Line]


def nodes(cells: Sequence[Cell]) -> list[Node]:
    """Every node that takes part in a cell, in the order in which the cells name them."""
    records: dict[str, list[NodeRecord]] = {}
    for cell in cells:
        for record in (*cell.manifest.role("edge"), *cell.manifest.role("cloud")):
            records.setdefault(record.id, []).append(record)
    return [_node(name, found) for name, found in records.items()]


def _node(name: str, records: Sequence[NodeRecord]) -> Node:
    return Node(
        id=name,
        roles=list(dict.fromkeys(record.role for record in records)),
        emulated=any(record.profile.kind == "emulated" for record in records),
        what=_lines((*(line for record in records for line in _what(record)), *_timekeeping(records))),
        state=_lines(_state(records)),
        power=_lines((*_sources(records), *_sampling(records), *_left_out(records))),
    )


def _lines(found: Iterable[tuple[str, str]]) -> list[Line]:
    lines: dict[str, list[str]] = {}
    for name, text in found:
        if text not in lines.setdefault(name, []):
            lines[name].append(text)
    return list(lines.items())


def _what(record: NodeRecord) -> Iterator[tuple[str, str]]:
    profile = record.profile
    if profile.emulates is not None:
        emulates = profile.emulates
        yield "stands for", f"{emulates.board}; {emulates.time.told}"
        yield "where those figures are from", emulates.time.reference
    yield "kind", profile.kind
    yield "reached", "on this machine" if profile.reach == "local" else f"over SSH ({profile.reach.ssh})"
    threads = profile.runtime.threads
    yield "runs networks with", f"{profile.runtime.told}, {threads} thread{'' if threads == 1 else 's'}"
    for said in record.repeats.values():
        others = said.hello.board.others
        machine = [str(others[key]) for key in _MACHINE if others.get(key)]
        if cores := others.get("cpu_count"):
            machine.append(f"{cores} CPU cores")
        if memory := others.get("memory_bytes"):
            machine.append(f"{memory / 2**30:.1f} GiB")
        yield "machine", ", ".join(machine)
        yield "software", ", ".join(f"{library} {version}" for library, version in sorted(said.hello.versions.items()))
        if runtime := said.loaded.runtime:
            yield "its runtime", ", ".join(runtime.values())
        if backbone := said.loaded.backbone:
            yield "form of the backbone", backbone.form


def _timekeeping(records: Sequence[NodeRecord]) -> Iterator[tuple[str, str]]:
    """How well the host of an emulated node kept to the model, over all its repeats."""
    ended = [repeat.finished for record in records for repeat in record.repeats.values()]
    kept = [one.timekeeping for one in ended if one.timekeeping is not None]
    if not kept:
        return
    late, stages = sum(one.overruns for one in kept), sum(one.stages for one in kept)
    worst = max(one.overruns / one.stages if one.stages else 0.0 for one in kept)
    text = f"{late:,} of {stages:,} stages later than modelled in {len(kept)} repeats of all cells"
    yield "host", text + (f"; {significant(100 * worst)}% in the worst repeat" if late else "")
    ahead = [one.computed_ahead or 0 for one in ended]
    before = sum(one.computed_before or 0 for one in ended)
    told = f"at most {max(ahead):,} samples of a repeat, {before:,} of all {sum(ahead):,} by earlier repeats"
    yield "computed ahead", told if any(ahead) else "nothing"


def _state(records: Sequence[NodeRecord]) -> Iterator[tuple[str, str]]:
    said = [repeat for record in records for repeat in record.repeats.values()]
    for repeat in said:
        for setting in repeat.finished.settings:
            yield "set for the measurement, put back after", setting
    yield from _temperatures(said)
    yield from _cooling(said)
    yield "throttling", _throttling(said)
    if missing := sorted({name for repeat in said for name in repeat.hello.board.others.get("absent", [])}):
        yield "not found on it", ", ".join(name.replace("_", " ") for name in missing)


def _temperatures(said: Sequence[NodeRepeat]) -> Iterator[tuple[str, str]]:
    zones: dict[str, list[tuple[float, float]]] = {}
    for repeat in said:
        after = repeat.finished.facts.temperature_c
        for zone, degrees in repeat.hello.board.temperature_c.items():
            zones.setdefault(zone, []).append((degrees, after.get(zone, degrees)))
    for zone, pairs in zones.items():
        begun, ended = (f"{min(found):.0f} to {max(found):.0f} °C" for found in zip(*pairs, strict=True))
        yield "temperature", f"{zone}: {begun} before a repeat, {ended} after it"


def _cooling(said: Sequence[NodeRepeat]) -> Iterator[tuple[str, str]]:
    found = [repeat.cooling for repeat in said if repeat.cooling is not None]
    if found:
        longest, gave_up = max(each.waited_s for each in found), sum(each.gave_up for each in found)
        ended = f"gave up before {gave_up} of {len(found)} repeats" if gave_up else "as warm as at the first each time"
        yield "cooling down", f"waited at most {significant(longest)} s before a repeat; {ended}"


def _throttling(said: Sequence[NodeRepeat]) -> str:
    known = [(repeat.hello.board.throttle, repeat.finished.facts.throttle) for repeat in said]
    if not any(before or after for before, after in known):
        return "the machine does not tell"
    rises: dict[str, int] = {}
    for before, after in known:
        for name, value in after.items():
            rises[name] = rises.get(name, 0) + max(0, value - before.get(name, 0))
    seen = [f"{name} {value}" for name, value in rises.items() if value]
    return f"seen: {', '.join(seen)}" if seen else "none seen"


def _sources(records: Sequence[NodeRecord]) -> Iterator[tuple[str, str]]:
    for record in records:
        rates = {spec.source: spec.rate_hz for spec in record.profile.power}
        for repeat in record.repeats.values():
            for source in repeat.loaded.power:
                modelled = all(rail.scope == "emulated" for rail in source.rails)
                rails = ", ".join(f"{rail.name} ({rail.scope})" for rail in source.rails)
                averaged = "" if source.averaging_ms is None else f", each averaged over {source.averaging_ms:g} ms"
                kind = "a model, no sensor" if modelled else "a sensor"
                rate = f" at {rates[source.source]:g} Hz" if source.source in rates else ""
                yield "source of power", f"{source.source} ({kind}): {rails}{rate}{averaged}"
                if not modelled:
                    for rail in source.rails:
                        yield (
                            "how well a reading is known",
                            f"{rail.name}: gain ± {100 * rail.gain:g}%, offset ± {rail.offset_mw:g} mW, "
                            f"rounded to {rail.lsb_mw:g} mW",
                        )
                if reference := source.detail.get("reference"):
                    yield "where its numbers are from", str(reference)


def _sampling(records: Sequence[NodeRecord]) -> Iterator[tuple[str, str]]:
    reports = [repeat.finished.sampler for record in records for repeat in record.repeats.values()]
    sources = [source for report in reports if report is not None for source in report.sources]
    for name in dict.fromkeys(source.source for source in sources):
        own = [source for source in sources if source.source == name]
        samples, missed = sum(source.samples for source in own), sum(source.missed for source in own)
        late = max(source.lateness_us.p99 for source in own)
        yield (
            "sampling",
            f"{name}: {samples:,} readings in {len(own)} repeats of all cells, {missed:,} deadlines missed; "
            f"99% of them at most {significant(late / 1e3)} ms late, in the worst repeat",
        )
        for source in own:
            for warning in source.check.warnings:
                yield "warning", f"{name}: {warning}"


def _left_out(records: Sequence[NodeRecord]) -> Iterator[tuple[str, str]]:
    lost: dict[tuple[str, str], int] = {}
    for record in records:
        for found in left_out(record):
            key = found.source, found.rail
            lost[key] = lost.get(key, 0) + found.readings
    for (source, rail), readings in lost.items():
        yield "readings left out", f"{source} {rail}: {readings:,} that nothing can draw"


def emulated_nodes(cells: Iterable[Cell]) -> list[str]:
    """The ids of the nodes that are emulated."""
    every: Iterator[Any] = (node for cell in cells for node in cell.manifest.nodes.values())
    return sorted({node.id for node in every if node.profile.kind == "emulated"})
