"""Tables for the terminal and for a paper. Emulated and measured energies never share a column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from analysis.energy import KINDS, EnergySource
from analysis.headline import headlines
from analysis.headline_table import headline_csv, headline_latex, headline_markdown
from analysis.markup import latex, markdown
from analysis.metrics import cloud_energy, energy, latency
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.metrics.registry import metrics
from analysis.texts import Table, plus_minus, significant
from analysis.uncertainty import PARTS, PartName
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically

_PART_HEADERS: dict[PartName, str] = {
    "gain": "± gain",
    "offset": "± offset",
    "lsb": "± LSB",
    "edges": "± edges",
    "drift": "± drift",
    "repeats": "± repeats",
}


OF_A_PAPER: dict[str, tuple[str, ...]] = {
    "cells-accuracy": ("accuracy", "accuracy_drop", "mean_exit", "edge_share"),
    "cells-latency": ("latency", "latency_speedup"),
    "cells-load": ("accuracy", "throughput", "queue", "mlperf"),
    "cells-energy": (
        "energy",
        "energy_saving",
        "energy_net_saving",
        "energy_delay",
        "cloud_energy",
        "cloud_energy_source",
    ),
    "cells-data": ("traffic", "reduction"),
}
"""The main table in parts that fit a page, by the metrics that each has."""


def table(measured: Sequence[Measured], only: Collection[str] | None = None) -> Table:
    """The main table: the headings of all metrics, and a row per cell; blank where nothing applies.

    `source` says whether a node that takes part is emulated, and with it the cell's times.

    Args:
        measured: the cells.
        only: the names of the metrics that are wanted.
    """
    shown = [
        (metric, heading)
        for metric in metrics()
        if only is None or metric.name in only
        for heading in metric.headings
        if is_shown(measured, metric, heading)
    ]
    # Of energies the header says it; a latency has the same header whatever it is of.
    sourced = only is None or latency.METRIC.name in only
    headers = ["cell", *(["source"] if sourced else []), *(heading.header for _, heading in shown), "valid"]
    rows = []
    for one in measured:
        source = ["emulated" if one.emulated else "measured"] if sourced else []
        rows.append([one.label, *source, *(text_of(one, metric, heading) for metric, heading in shown), one.verdict])
    return headers, rows


def energy_tables(measured: Sequence[Measured]) -> list[tuple[EnergySource, Table]]:
    """For each kind of energy: that of each node per request, and what each part adds to its 95% interval.

    The parts add up as squares. A row for gross and one for net; blank where a part does not apply.
    """
    tables = [(kind, _energy_table(measured, kind)) for kind in KINDS]
    return [(kind, (headers, rows)) for kind, (headers, rows) in tables if rows]


def write_tables(folder: Path, measured: Sequence[Measured]) -> list[Path]:
    """Write the main table, its parts and those of the energies' intervals, as Markdown and as LaTeX, into `tables/`.

    With them the headline, also as CSV, where a cell stands for it.
    """
    tables = {"summary": table(measured)} | {name: table(measured, only) for name, only in OF_A_PAPER.items()}
    tables |= {f"energy-{source}": one for source, one in energy_tables(measured)}
    texts: dict[str, str] = {}
    for name, (headers, rows) in tables.items():
        texts |= {f"{name}.md": markdown(headers, rows), f"{name}.tex": latex(headers, rows)}
    if found := headlines(measured):
        texts |= {
            "headline.md": headline_markdown(found),
            "headline.tex": headline_latex(found),
            "headline.csv": headline_csv(found),
        }
    paths = []
    for name, text in texts.items():
        paths.append(ExperimentFolder(folder).tables / name)
        write_atomically(paths[-1], text.encode())
    return paths


def is_shown(measured: Sequence[Measured], metric: Metric[Any], heading: Heading[Any]) -> bool:
    """Whether a table of these cells has this column."""
    if heading.only is None and heading.when is None:
        return True
    shown = [value for one in measured if heading.shows(value := one.get(metric))]
    return any(heading.when is None or heading.when(value) for value in shown)


def text_of(one: Measured, metric: Metric[Any], heading: Heading[Any]) -> str:
    """What a heading says of a cell; blank where nothing applies."""
    value = one.get(metric)
    return heading.text(value) if heading.shows(value) else ""


def _energy_table(measured: Sequence[Measured], source: EnergySource) -> Table:
    rows = []
    for one in measured:
        for role, found in (("edge", one.get(energy.METRIC)), ("cloud", one.get(cloud_energy.METRIC))):
            if found is None or found.source != source:
                continue
            for what, budget in (("gross", found.gross), ("net", found.net)):
                if budget is not None:
                    parts = [significant(budget.part(name)) for name in PARTS]
                    rows.append([one.label, f"{role}, {what}", plus_minus(budget.mean, budget.half), *parts])
    return ["cell", "of", f"mean energy ({source}) [mJ]", *(_PART_HEADERS[name] for name in PARTS)], rows
