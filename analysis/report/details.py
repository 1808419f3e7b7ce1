"""A cell's own part of the report, what all cells have in common, and how to run them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analysis import paths
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Line, Metric
from testbed.errors import RecordError
from testbed.record.documents import Manifest
from testbed.record.power import left_out
from testbed.record.reader import Cell


@dataclass(frozen=True)
class Document:
    """A document of a cell; `like` is the label and the id of an earlier cell that has the same, and then no text."""

    name: str
    text: str
    like: tuple[str, str] | None = None


@dataclass(frozen=True)
class Details:
    """One cell: its numbers by name, clocks and documents."""

    one: Measured
    numbers: list[tuple[str, list[str]]]
    clock: list[tuple[str, ...]]
    documents: list[Document]


def details(measured: Sequence[Measured], every: Sequence[Metric[Any]]) -> list[Details]:
    """The details of all cells. A document that several have is written once."""
    written: dict[str, tuple[str, str]] = {}
    found = []
    for one in measured:
        values = [(metric, one.get(metric)) for metric in every]
        numbers = [line for metric, value in values if value is not None for line in metric.details(value)]
        documents = [_document(one, name, document, written) for name, document in _documents(one.cell.manifest)]
        lines: dict[str, list[str]] = {}
        for name, text in (*numbers, *_left_out(one.cell), *paths.lines(one.cell)):
            lines.setdefault(name, []).append(text)
        found.append(Details(one, list(lines.items()), _clock(one.cell), documents))
    return found


def common(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """What was measured: data, models, links and requests; each distinct text once."""
    return _distinct(
        cells,
        {
            "data set": lambda m: f"{m.dataset.name}, {m.dataset.samples} samples: {m.dataset.variant}",
            "model": _model,
            "link": lambda m: str((m.link.requested or {}).get("name", "")),
            "requests": _requests,
            "repeats": lambda m: str(m.repeats),
        },
    )


def again(cells: Sequence[Cell]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The commands that measure the same again, and everything else that decides the numbers."""
    manifests = [cell.manifest for cell in cells]
    commits = list(dict.fromkeys(manifest.code.commit for manifest in manifests if manifest.code.commit))
    runs = list(dict.fromkeys(shlex.join(["testbed", *m.invocation.argv]) for m in manifests if m.invocation))
    commands = [f"git checkout {commits[0]}"] if len(commits) == 1 and runs else []
    facts = _distinct(
        cells,
        {
            "testbed": lambda m: f"{m.code.version}, sources {m.code.sha256[:12]}, Python {m.code.python}",
            "commit": lambda m: m.code.commit or "not in a repository",
            "seed": lambda m: str(m.config.seed),
            "data": lambda m: f"{m.dataset.name}: {m.dataset.hash[:12]}",
            "model": lambda m: f"{m.model.name}: {m.model.hash[:12]}",
            "link": lambda m: f"{m.config.link.name}: {m.config.link.sha256[:12]}" if m.config.link else "",
            "encrypted": lambda m: "yes, with CURVE" if m.link.curve else "no (curve: false)",
        },
    )
    return [*commands, *runs], facts


def _distinct(cells: Sequence[Cell], of: dict[str, Callable[[Manifest], str]]) -> list[tuple[str, list[str]]]:
    lines = [(name, list(dict.fromkeys(text(cell.manifest) for cell in cells))) for name, text in of.items()]
    return [(name, kept) for name, texts in lines if (kept := [text for text in texts if text])]


def _model(manifest: Manifest) -> str:
    model = manifest.model
    split = f", split at {model.split}" if model.split else ""
    bottleneck = ", with a bottleneck" if model.bottleneck else ""
    return f"{model.name}: {model.network}, T = {model.timesteps}{split}{bottleneck}"


def _requests(manifest: Manifest) -> str:
    scenario = manifest.config.scenario
    count = "each sample once" if scenario.requests is None else f"{scenario.requests} requests"
    rate = "" if scenario.target_qps is None else f" at {scenario.target_qps:g} a second"
    return f"{scenario.kind.replace('_', ' ')}{rate}, {count} in a repeat after {scenario.warmup} to warm up"


def _documents(manifest: Manifest) -> list[tuple[str, object]]:
    return [
        ("config", manifest.config),
        ("nodes", manifest.nodes),
        ("link", manifest.link),
        ("model", manifest.model),
    ]


def _document(one: Measured, name: str, document: object, written: dict[str, tuple[str, str]]) -> Document:
    text = json.dumps(msgspec.to_builtins(document), indent=1, ensure_ascii=False)
    if text in written:
        return Document(name, "", written[text])
    written[text] = one.label, one.cell.manifest.cell
    return Document(name, text)


def _left_out(cell: Cell) -> list[Line]:
    """The readings of power that are in no number."""
    return [
        (
            "readings left out",
            f"{node.id}: {found.source}, repeat {found.repeat}, {found.rail}: {found.readings:,} ({found.share:.2%}) "
            "that nothing can draw",
        )
        for node in cell.manifest.nodes.values()
        for found in left_out(node)
    ]


def _clock(cell: Cell) -> list[tuple[str, ...]]:
    try:
        estimates, lines = cell.clock, cell.clock_lines
    except RecordError:
        return []
    return [
        (e.node, str(e.repeat), e.when, f"{e.offset_ns / 1e6:,.3f} ± {e.bound_ns / 1e6:,.3f} ms", "") for e in estimates
    ] + [
        (
            each.node,
            str(each.repeat),
            "middle" if each.straight else "middle, not straight",
            f"{each.offset_ns / 1e6:,.3f} ± {each.bound_ns / 1e6:,.3f} ms",
            f"{each.skew_ppm:.2f} ± {each.skew_bound_ppm:.2f} ppm",
        )
        for each in lines
    ]
