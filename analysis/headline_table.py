"""The headline as a table of a paper: LaTeX (booktabs, siunitx), Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from analysis.headline import Entry, Headline
from analysis.markup import escape, markdown
from analysis.metrics.comparison import NOT_RESOLVED
from analysis.resolution import NO_PAIR
from analysis.texts import Table, digits, number

HEADERS = ["data set", "backbone", "quantity", "paper", "here", "95% interval", "source"]
CSV_HEADERS = [
    "dataset", "backbone", "quantity", "unit", "paper", "here", "here_lo", "here_hi", "resolved", "source", "note",
    "smallest_resolved", "cell", "label", "repeats",
]  # fmt: skip
PAPER = "NeuCODEX (arXiv 2509.19156)"


def headline_table(found: Sequence[Headline]) -> Table:
    """Plain data: seven columns, a row for each quantity of each data set and backbone; units are with the quantity."""
    rows = []
    for one in found:
        for entry in one.entries:
            here, interval = _texts(entry)
            rows.append([one.dataset, one.network, _quantity(entry), entry.paper, here, interval, _source(entry)])
    return list(HEADERS), rows


def caption(found: Sequence[Headline]) -> list[str]:
    """The sentences below the table: what is emulated, how cells were chosen, what can be resolved."""
    repeats = sorted({one.cell.cell.manifest.repeats for one in found})
    said = [
        f"Claims of {PAPER} beside what was found here. The paper's 2048 is nominal: 64 times fewer elements, of 1 bit "
        "in place of 32. Here bytes are per request, in the mean, and wire bytes have headers and TCP/IP in them. "
        "Saving, speed-up and drop are against edge-only without exit in the same campaign.",
        f"95% intervals are over {' or '.join(map(str, repeats))} repeats, paired within each; "
        f"{NOT_RESOLVED}: the interval includes no difference, or (A/A) a baseline measured twice differs by as much.",
    ]
    if emulated := sorted({_edge(one) for one in found if one.cell.emulated}):
        said.append(f"Latency and energy are emulated ({', '.join(emulated)}): of a model, not of a board.")
    return [*said, *cells_and_resolution(found)]


def cells_and_resolution(found: Sequence[Headline]) -> list[str]:
    """Which cell stands in each headline and how it was chosen, and the smallest differences that can be resolved."""
    said = []
    for one in found:
        said.append(f"{one.dataset}, {one.network}: {one.cell.label}{_chosen(one)}.")
        said.append(one.resolution.text if one.resolution else NO_PAIR)
    return list(dict.fromkeys(said))


def headline_document(found: Sequence[Headline]) -> list[dict[str, object]]:
    """The rows of the CSV with their numbers as they are; None where there is none."""
    rows = []
    for one in found:
        manifest = one.cell.cell.manifest
        for entry in one.entries:
            ends = (None,) * 3 if entry.found is None else (entry.found.value, entry.found.low, entry.found.high)
            values = (
                one.dataset, one.backbone, entry.quantity, entry.unit, entry.paper, *ends, entry.resolved, entry.source,
                entry.note, entry.smallest, manifest.cell, one.cell.label, manifest.repeats,
            )  # fmt: skip
            rows.append(dict(zip(CSV_HEADERS, values, strict=True)))
    return rows


def headline_markdown(found: Sequence[Headline]) -> str:
    """A pipe table and its caption."""
    return markdown(*headline_table(found)) + "\n" + "\n".join(caption(found)) + "\n"


def headline_csv(found: Sequence[Headline]) -> str:
    """A row for each quantity with its numbers as they are; blank where there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADERS)
    for row in headline_document(found):
        writer.writerow([_written(value) for value in row.values()])
    return text.getvalue()


def headline_latex(found: Sequence[Headline]) -> str:
    r"""A `table*` with booktabs rules and numbers as siunitx sets them; it fits the width of a page of two columns.

    The document needs `\usepackage{booktabs,siunitx}`. A line above each group of rows names its data set, backbone and
    cell.
    """
    headers = [escape(header) for header in HEADERS[2:]]
    lines = [
        r"% \usepackage{booktabs,siunitx}",
        r"\begin{table*}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(' '.join(caption(found)))}}}",
        r"\begin{tabular}{lrS[table-format=-4.2]rl}",
        r"\toprule",
        " & ".join(f"{{{header}}}" for header in headers) + r" \\",
    ]
    for one in found:
        named = escape(f"{one.dataset}, {one.network}: {one.cell.label}")
        lines += [r"\midrule", rf"\multicolumn{{{len(headers)}}}{{l}}{{{named}}} \\"]
        for entry in one.entries:
            here = _texts(entry)[0] or r"{--}"
            quantity, paper, source = map(escape, (_quantity(entry), entry.paper, _source(entry)))
            lines.append(" & ".join([quantity, paper, here, _tex_interval(entry), source]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _quantity(entry: Entry) -> str:
    return f"{entry.quantity} [{entry.unit}]"


def _source(entry: Entry) -> str:
    return "; ".join(filter(None, (entry.source, entry.note)))


def _chosen(one: Headline) -> str:
    if one.chosen_of == 1:
        return ""
    return (
        f" (of {one.chosen_of} cells the one that saves most of those that lose fewer than two points, or where there "
        "is none loses least)"
    )


def _texts(entry: Entry) -> tuple[str, str]:
    """The number and its interval, to the same digits."""
    found = entry.found
    if found is None:
        return "", "not measured"
    if found.low is None or found.high is None:
        return number(found.value, digits(found.value, None)), "one repeat, none"
    places = digits(found.value, found.half)
    ends = f"{number(found.low, places)} to {number(found.high, places)}"
    return number(found.value, places), ends + _doubt(entry)


def _tex_interval(entry: Entry) -> str:
    found = entry.found
    if found is None or found.low is None or found.high is None:
        return _texts(entry)[1]
    places = digits(found.value, found.half)
    low, high = (rf"\num{{{number(end, places)}}}" for end in (found.low, found.high))
    return f"{low} to {high}" + _doubt(entry)


def _doubt(entry: Entry) -> str:
    if entry.found is None or entry.resolved or entry.found.same:
        return ""
    return f", {NOT_RESOLVED}" if not entry.found.resolved else f", {NOT_RESOLVED} (A/A)"


def _edge(one: Headline) -> str:
    return ", ".join(node.id for node in one.cell.cell.manifest.role("edge"))
