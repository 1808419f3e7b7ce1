"""`report.html`: one file that says what was measured on what, the numbers, and how sure they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from analysis.figures.drawing import Drawing
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Metric
from analysis.metrics.registry import metrics
from analysis.tables import energy_tables, table
from testbed.errors import RecordError
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically
from testbed.record.power import left_out
from testbed.record.reader import Cell

_TEMPLATES = Path(__file__).parent / "templates"

_DEFINED_HERE = (
    (
        "± gain, offset, LSB, edges, drift, repeats",
        "What each part adds to the interval of an energy; they add up as squares. Gain, offset and LSB (rounding) "
        "are the sensor's, edges what happened between samples and within one sensor's averaging time at the ends of "
        "the window, drift half the difference of the idle baselines, repeats the spread between repeats. All but the "
        "last are systematic: more repeats do not shrink them.",
    ),
    (
        "valid",
        "Whether the run passed its checks (throttling, sensor gaps, clock steps, the link against its "
        "target, idle drift). The data of an invalid cell are kept; the figures leave it out.",
    ),
)
"""The columns that are no metric's."""


def write_report(folder: Path, measured: Sequence[Measured], drawings: Sequence[Drawing], no_figures: str = "") -> Path:
    """Write `report.html` into an experiment's results; it needs no other file and no network.

    Args:
        folder: the experiment's results.
        measured: its cells.
        drawings: its figures.
        no_figures: why there are none.

    Raises:
        RecordError: there are no cells.
    """
    if not measured:
        raise RecordError(f"{folder}: holds no measured cells")
    headers, rows = table(measured)
    every = metrics()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cells = [one.cell for one in measured]
    manifests = [cell.manifest for cell in cells]
    html = environment.get_template("report.html.j2").render(
        experiment=manifests[0].experiment,
        dates=sorted({manifest.created[:10] for manifest in manifests}),
        repeats=sorted({manifest.repeats for manifest in manifests}),
        emulated=sorted({name for cell in cells for name in _emulated_nodes(cell)}),
        mixed=len({one.emulated for one in measured}) > 1,
        facts=_facts(cells),
        headers=headers,
        energies=[(source, *one) for source, one in energy_tables(measured)],
        rows=[(row, one.valid, one.reasons) for row, one in zip(rows, measured, strict=True)],
        figures=[(d.name, d.caption, base64.b64encode(d.png).decode()) for d in drawings],
        no_figures=no_figures,
        cells=[_details(one, every) for one in measured],
        definitions=[*((metric.term, metric.definition) for metric in every), *_DEFINED_HERE],
    )
    path = ExperimentFolder(folder).report
    write_atomically(path, html.encode())
    return path


def _emulated_nodes(cell: Cell) -> list[str]:
    return [node.id for node in cell.manifest.nodes.values() if node.profile.kind == "emulated"]


def _facts(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """What was measured on what; each distinct value once."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        manifest = cell.manifest
        for node in (*manifest.role("edge"), *manifest.role("cloud")):
            emulates = node.profile.emulates
            text = f"{node.id} ({node.profile.kind})" + (f", in place of: {emulates.board}" if emulates else "")
            found.setdefault(node.role, []).append(text)
        data, model = manifest.dataset, manifest.model
        found.setdefault("data set", []).append(f"{data.name} {data.variant}, {data.samples} samples")
        parts = [model.name, model.backbone, f"T = {model.timesteps}"]
        parts += [f"split at {model.split}"] if model.split else []
        found.setdefault("model", []).append(", ".join(parts))
        code = msgspec.structs.asdict(manifest.code)
        found.setdefault("code", []).append(", ".join(f"{key} {value}" for key, value in code.items() if value))
    return [(name, list(dict.fromkeys(values))) for name, values in found.items()]


def _details(one: Measured, every: Sequence[Metric[Any]]) -> dict[str, Any]:
    manifest = one.cell.manifest
    found = [(metric, one.get(metric)) for metric in every]
    return {
        "label": one.label,
        "id": manifest.cell,
        "mode": manifest.mode,
        "valid": one.valid,
        "verdict": one.verdict,
        "reasons": one.reasons,
        "numbers": [
            *(line for metric, value in found if value is not None for line in metric.details(value)),
            *_left_out(one.cell),
        ],
        "clock": _clock(one.cell),
        "documents": [
            (name, json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False))
            for name, document in (
                ("config", manifest.config),
                ("nodes", manifest.nodes),
                ("link", manifest.link),
                ("model", manifest.model),
            )
        ],
    }


def _left_out(cell: Cell) -> list[tuple[str, str]]:
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
