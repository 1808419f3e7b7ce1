"""Tables for the terminal and for a paper. Emulated and measured energies never share a column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.energy import KINDS, EnergySource
from analysis.metrics import cloud_energy, energy
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
_MARKDOWN = str.maketrans({"|": "\\|", "*": "\\*", "_": "\\_", "<": "&lt;", ">": "&gt;", "`": "\\`"})
# After tabulate has escaped what is ASCII.
_TEX = str.maketrans(
    {
        "±": r"$\pm$",
        "×": r"$\times$",
        "µ": r"$\mu$",
        "α": r"$\alpha$",
        "≥": r"$\geq$",
        "−": r"$-$",
        "–": "--",
        "·": r"$\cdot$",
        "→": r"$\rightarrow$",
    }
)


def table(measured: Sequence[Measured]) -> Table:
    """The main table: the headings of all metrics, and a row per cell; blank where nothing applies."""
    shown = [
        (metric, heading) for metric in metrics() for heading in metric.headings if _is_shown(measured, metric, heading)
    ]
    headers = ["cell", *(heading.header for _, heading in shown), "valid"]
    return headers, [
        [one.label, *(_text(one, metric, heading) for metric, heading in shown), one.verdict] for one in measured
    ]


def energy_tables(measured: Sequence[Measured]) -> list[tuple[EnergySource, Table]]:
    """For each kind of energy: that of each node per request, and what each part adds to its 95% interval.

    The parts add up as squares. A row for gross and one for net; blank where a part does not apply.
    """
    tables = [(kind, _energy_table(measured, kind)) for kind in KINDS]
    return [(kind, (headers, rows)) for kind, (headers, rows) in tables if rows]


def write_tables(folder: Path, measured: Sequence[Measured]) -> list[Path]:
    """Write the main table and those of the energies' intervals, as Markdown and as LaTeX, into `tables/`."""
    tables = {"summary": table(measured)}
    tables |= {f"energy-{source}": one for source, one in energy_tables(measured)}
    texts: dict[str, str] = {}
    for name, (headers, rows) in tables.items():
        texts |= {f"{name}.md": markdown(headers, rows), f"{name}.tex": latex(headers, rows)}
    paths = []
    for name, text in texts.items():
        paths.append(ExperimentFolder(folder).tables / name)
        write_atomically(paths[-1], text.encode())
    return paths


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table, numbers to the right."""
    return _tabulated(headers, [[text.translate(_MARKDOWN) for text in row] for row in rows], "pipe")


def latex(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A tabular with booktabs rules; the document needs `\usepackage{booktabs}`."""
    return _tabulated(headers, rows, "latex_booktabs").translate(_TEX)


def _tabulated(headers: Sequence[str], rows: Sequence[Sequence[str]], layout: str) -> str:
    from tabulate import tabulate

    # Texts are numbers already rounded: none is to be read as a number again.
    sides = ("left", *("right",) * (len(headers) - 1))
    return tabulate(rows, headers, layout, disable_numparse=True, colalign=sides) + "\n"


def _is_shown(measured: Sequence[Measured], metric: Metric[Any], heading: Heading[Any]) -> bool:
    if heading.only is None:
        return True
    return any((value := one.get(metric)) is not None and heading.only(value) for one in measured)


def _text(one: Measured, metric: Metric[Any], heading: Heading[Any]) -> str:
    value = one.get(metric)
    if value is None or (heading.only is not None and not heading.only(value)):
        return ""
    return heading.text(value)


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
    return ["cell", "of", f"energy ({source}) [mJ]", *(_PART_HEADERS[name] for name in PARTS)], rows
