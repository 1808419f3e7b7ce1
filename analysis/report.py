"""`report.html`: one file that says what was measured on what, the numbers, and how sure they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from analysis.energy import Energy
from analysis.figures import Drawing
from analysis.metrics import Measured, is_emulated
from analysis.tables import energy_tables, number, plus_minus, significant, table, verdict
from testbed.errors import RecordError
from testbed.record.log import write_atomically
from testbed.record.reader import Cell

_TEMPLATES = Path(__file__).parent / "templates"

_DEFINITIONS = (
    ("accuracy", "Right answers over all requests; one that timed out or failed counts as wrong."),
    (
        "drop",
        "Accuracy of the baseline less that of the cell, in points. The baseline is edge-only without exit.",
    ),
    (
        "p50, p95",
        "Percentiles of end-to-end latency over all repeats' answered requests, by the edge's clock.",
    ),
    ("speed-up", "Median latency of the baseline over that of the cell."),
    (
        "energy",
        "What the edge drew per request, gross: the trapezoid of its power samples over the window of a "
        "repeat's requests, over their number. Mean over repeats ± 95% interval (JCGM 100:2008), from the parts below.",
    ),
    (
        "± gain, offset, LSB, edges, drift, repeats",
        "What each part adds to the interval of an energy; they add up as squares. Gain, offset and LSB (rounding) "
        "are the sensor's, edges what happened between samples and within one sensor's averaging time at the ends of "
        "the window, drift half the difference of the idle baselines, repeats the spread between repeats. All but the "
        "last are systematic: more repeats do not shrink them.",
    ),
    ("saving", "1 − energy over the baseline's energy. Blank between a measured and an emulated energy."),
    (
        "op count",
        "Energy of the edge's arithmetic per answered request on a hypothetical 45 nm chip: 4.6 pJ for each "
        "multiply-accumulate and 0.9 pJ for each accumulate (float32; Horowitz, ISSCC 2014) that SpikingJelly's "
        "counters found in the layers which the edge runs. Counted, not measured: no memory traffic, no codec, no "
        "radio, no idle power. Other papers' op counts may be set beside it, the other energies here may not.",
    ),
    ("payload up", "Mean payload bytes that the edge sent per answered request, without headers."),
    (
        "code, entropy",
        "Mean bits of the payload per code, and the zero-order entropy Σ H'W'·h(p) of the same codes under the spike "
        "rate p that each channel had on training data at that timestep.",
    ),
    (
        "vs float32, vs packed",
        "All T timesteps of features at the split, as float32 or as one bit each, over the payload bytes "
        "really sent; so early exits and entropy coding count.",
    ),
    ("compression", "Nominal, per timestep: 32·C·H·W at the split over the bits of the code."),
    ("mean exit", "Mean timestep, counted from 1, at which answered requests stopped."),
    (
        "valid",
        "Whether the run passed its checks (throttling, sensor gaps, clock steps, the link against its "
        "target, idle drift). The data of an invalid cell are kept; the figures leave it out.",
    ),
)


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
    cells = [one.cell for one in measured]
    headers, rows = table(measured)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    manifests = [cell.manifest for cell in cells]
    html = environment.get_template("report.html.j2").render(
        experiment=manifests[0].experiment,
        dates=sorted({manifest.created[:10] for manifest in manifests}),
        repeats=sorted({manifest.repeats for manifest in manifests}),
        emulated=sorted({name for cell in cells for name in _emulated_nodes(cell)}),
        mixed=len({is_emulated(cell) for cell in cells}) > 1,
        facts=_facts(cells),
        headers=headers,
        energies=[(source, *one) for source, one in energy_tables(measured)],
        rows=[(row, one.valid, one.reasons) for row, one in zip(rows, measured, strict=True)],
        figures=[(d.name, d.caption, base64.b64encode(d.png).decode()) for d in drawings],
        no_figures=no_figures,
        cells=[_details(one) for one in measured],
        definitions=_DEFINITIONS,
    )
    path = folder / "report.html"
    write_atomically(path, html.encode())
    return path


def _emulated_nodes(cell: Cell) -> list[str]:
    return [node.id for node in cell.manifest.nodes.values() if node.profile.kind == "emulated"]


def _facts(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """What was measured on what; each distinct value once."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        manifest = cell.manifest
        for node in manifest.nodes.values():
            emulates = node.profile.emulates
            text = f"{node.id} ({node.profile.kind})"
            found.setdefault(node.role, []).append(text + (f", in place of: {emulates.board}" if emulates else ""))
        data, model = manifest.dataset, manifest.model
        found.setdefault("data set", []).append(f"{data.name} {data.variant}, {data.samples} samples")
        parts = [model.name, model.backbone, f"T = {model.timesteps}"]
        parts += [f"split at {model.split}"] if model.split else []
        found.setdefault("model", []).append(", ".join(parts))
        code = msgspec.structs.asdict(manifest.code)
        found.setdefault("code", []).append(", ".join(f"{key} {value}" for key, value in code.items() if value))
    return [(name, list(dict.fromkeys(filter(None, values)))) for name, values in found.items()]


def _details(one: Measured) -> dict[str, Any]:
    manifest = one.cell.manifest
    numbers: list[tuple[str, str]] = []
    if one.accuracy:
        a = one.accuracy
        low, high = 100 * a.low, 100 * a.high
        text = f"{100 * a.fraction:.2f}% ({low:.1f} to {high:.1f}% over {a.samples} distinct samples)"
        numbers.append(("accuracy", text + (f"; {a.not_ok} requests not answered" if a.not_ok else "")))
    if one.latency:
        p50 = _plus_minus(one.latency.p50.mean, one.latency.p50.half)
        numbers.append(("latency p50, repeat by repeat", f"{p50} ms"))
        numbers.append(("latency p99", f"{significant(one.latency.p99_ms)} ms"))
    numbers += _energy_lines("edge", one.energy) + _energy_lines("cloud", one.cloud_energy)
    if one.op_count:
        c = one.op_count
        compute, memory = significant(1e3 * c.compute_mj), significant(1e3 * c.memory_mj)
        energies = f"{compute} µJ of arithmetic; memory apart: {memory} µJ"
        numbers.append(("edge op count, not measured", f"{energies} ({c.samples} samples counted; {c.source})"))
    if one.traffic:
        t = one.traffic
        numbers.append(("payload up / down", _up_down(t.payload_up_bytes, t.payload_down_bytes)))
        numbers.append(("wire up / down", _up_down(t.wire_up_bytes, t.wire_down_bytes)))
    if one.compression:
        numbers.append(("compression, nominal", f"{one.compression:,g}×"))
    return {
        "label": one.label,
        "id": manifest.cell,
        "mode": manifest.mode,
        "valid": one.valid,
        "verdict": verdict(one),
        "reasons": one.reasons,
        "numbers": numbers,
        "clock": _clock(one.cell),
        "documents": [
            (name, json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False))
            for name, document in (
                ("config", manifest.config),
                ("nodes", manifest.nodes),
                ("link", manifest.link),
                ("model", manifest.model),
            )
            if document
        ],
    }


def _energy_lines(role: str, energy: Energy | None) -> list[tuple[str, str]]:
    if energy is None:
        return []
    what = f"{role} energy ({energy.source})"
    repeats = f"{len(energy.per_repeat_mj)} repeats, scope {energy.scope}"
    lines = [(f"{what}, gross", f"{_plus_minus(energy.gross.mean, energy.gross.half)} mJ ({repeats})")]
    if energy.net and energy.idle_mw is not None:
        net = _plus_minus(energy.net.mean, energy.net.half)
        lines.append((f"{what}, net", f"{net} mJ over an idle baseline of {number(energy.idle_mw, 0)} mW"))
    return lines


def _up_down(up: float, down: float) -> str:
    return f"{up:,.1f} / {down:,.1f} B per request"


def _plus_minus(mean: float, half: float | None) -> str:
    return plus_minus(mean, half) + (" (one repeat, no interval)" if half is None else "")


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
