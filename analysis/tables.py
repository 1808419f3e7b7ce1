"""Tables for the terminal and for a paper. Emulated and measured energies never share a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.energy import EnergySource
from analysis.metrics import Measured
from analysis.uncertainty import PARTS, PartName
from testbed.record.log import write_atomically

Table = tuple[list[str], list[list[str]]]
Column = tuple[str, Callable[[Measured], str]]

_TEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
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
_OP_COUNT_COLUMN: Column = (
    "op count [µJ]",
    lambda one: significant(1e3 * one.op_count.compute_mj) if one.op_count else "",
)
_CODE_COLUMNS: tuple[Column, ...] = (
    ("code [bit]", lambda one: number(one.code.sent, 1) if one.code else ""),
    ("entropy [bit]", lambda one: number(one.code.entropy, 1) if one.code else ""),
)
_PART_HEADERS: dict[PartName, str] = {
    "gain": "± gain",
    "offset": "± offset",
    "lsb": "± LSB",
    "edges": "± edges",
    "drift": "± drift",
    "repeats": "± repeats",
}
_MARKDOWN = str.maketrans({"|": "\\|", "*": "\\*", "_": "\\_", "<": "&lt;", ">": "&gt;", "`": "\\`"})


def table(measured: Sequence[Measured]) -> Table:
    """The main table as plain data: headers, and a row of texts per cell; blank where nothing applies."""
    columns: list[Column] = [
        ("cell", lambda one: one.label),
        ("accuracy [%]", lambda one: number(100 * one.accuracy.fraction, 2) if one.accuracy else ""),
        (
            "drop [points]",
            lambda one: number(one.comparison.accuracy_drop_points, 2) if one.comparison else "",
        ),
        ("p50 [ms]", lambda one: significant(one.latency.p50_ms) if one.latency else ""),
        ("p95 [ms]", lambda one: significant(one.latency.p95_ms) if one.latency else ""),
        ("speed-up", lambda one: times(one.comparison.latency_speedup) if one.comparison else ""),
        *(column for source in sources(measured) for column in _energy_columns(source)),
        *([_OP_COUNT_COLUMN] if any(one.op_count for one in measured) else ()),
        ("payload up [B]", lambda one: number(one.traffic.payload_up_bytes, 1) if one.traffic else ""),
        *(_CODE_COLUMNS if any(one.code for one in measured) else ()),
        ("vs float32", lambda one: times(one.traffic.reduction_vs_float32) if one.traffic else ""),
        ("vs packed", lambda one: times(one.traffic.reduction_vs_packed) if one.traffic else ""),
        ("mean exit", lambda one: number(one.mean_exit_timestep, 2)),
        ("valid", verdict),
    ]
    return [header for header, _ in columns], [[text(one) for _, text in columns] for one in measured]


def energy_tables(measured: Sequence[Measured]) -> list[tuple[EnergySource, Table]]:
    """For each kind of energy: that of each node per request, and what each part adds to its 95% interval.

    The parts add up as squares. A row for gross and one for net; blank where a part does not apply.
    """
    kinds: tuple[EnergySource, ...] = ("measured", "emulated")
    tables = [(kind, _energy_table(measured, kind)) for kind in kinds]
    return [(kind, (headers, rows)) for kind, (headers, rows) in tables if rows]


def sources(measured: Sequence[Measured]) -> list[EnergySource]:
    """The kinds of energy that occur, measured first."""
    kinds: tuple[EnergySource, ...] = ("measured", "emulated")
    return [kind for kind in kinds if any(one.energy and one.energy.source == kind for one in measured)]


def verdict(one: Measured) -> str:
    """Valid or not in a word; the state of a cell that is not complete."""
    if one.valid is None:
        return one.cell.status.state if one.cell.status else "unfinished"
    return "yes" if one.valid else "invalid"


def number(value: float | None, digits: int) -> str:
    """Fixed digits after the point; blank for None; never a negative zero."""
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def significant(value: float | None) -> str:
    """Three significant digits or all digits before the point; blank for None."""
    if value is None:
        return ""
    return number(value, _digits(value))


def plus_minus(mean: float, half: float | None) -> str:
    """A mean and its half-width to the same digits: three of the mean, one of the half-width at least."""
    if half is None:
        return significant(mean)
    digits = max(_digits(mean), 0 if half <= 0 else min(6, math.ceil(-math.log10(half))))
    return f"{number(mean, digits)} ± {number(half, digits)}"


def times(value: float | None) -> str:
    """A factor with its sign; blank for None."""
    return "" if value is None else f"{significant(value)}×"


def write_tables(folder: Path, measured: Sequence[Measured]) -> list[Path]:
    """Write the main table and those of the energies' intervals, as Markdown and as LaTeX, into `tables/`."""
    tables = {"summary": table(measured)}
    tables |= {f"energy-{source}": one for source, one in energy_tables(measured)}
    texts: dict[str, str] = {}
    for name, (headers, rows) in tables.items():
        texts |= {f"{name}.md": markdown(headers, rows), f"{name}.tex": latex(headers, rows)}
    paths = []
    for name, text in texts.items():
        paths.append(folder / "tables" / name)
        write_atomically(paths[-1], text.encode())
    return paths


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table, numbers to the right."""
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)]]
    escaped = [[text.translate(_MARKDOWN) for text in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in [*lines, *escaped])


def latex(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A tabular with booktabs rules; the document needs `\usepackage{booktabs}`."""
    lines = [" & ".join(text.translate(_TEX) for text in row) + r" \\" for row in [headers, *rows]]
    head = [r"\begin{tabular}{l" + "r" * (len(headers) - 1) + "}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}", ""])


def _digits(value: float) -> int:
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3


def _energy_columns(source: EnergySource) -> list[Column]:
    def energy_text(one: Measured) -> str:
        if not one.energy or one.energy.source != source:
            return ""
        return plus_minus(one.energy.gross.mean, one.energy.gross.half)

    def saving_text(one: Measured) -> str:
        if not one.energy or one.energy.source != source or not one.comparison:
            return ""
        return number(one.comparison.energy_saving_pct, 1)

    return [(f"energy ({source}) [mJ]", energy_text), (f"saving ({source}) [%]", saving_text)]


def _energy_table(measured: Sequence[Measured], source: EnergySource) -> Table:
    rows = []
    for one in measured:
        for role, found in (("edge", one.energy), ("cloud", one.cloud_energy)):
            if found is None or found.source != source:
                continue
            for what, budget in (("gross", found.gross), ("net", found.net)):
                if budget is not None:
                    parts = [significant(budget.part(name)) for name in PARTS]
                    rows.append([one.label, f"{role}, {what}", plus_minus(budget.mean, budget.half), *parts])
    return ["cell", "of", f"energy ({source}) [mJ]", *(_PART_HEADERS[name] for name in PARTS)], rows
