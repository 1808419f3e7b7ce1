"""`testbed compare`: two campaigns or two cells beside each other, with an exit code for scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.console import complain, console, print_document, print_rows
from testbed.cli.options import AsJson, Plugins
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from analysis.compare import Comparison, Difference, FactDifference, Pair

EXIT_DIFFERENT, EXIT_NOT_COMPARABLE = 1, 2
_WITHIN = re.compile(r"(?:(?P<name>\w+)=)?(?P<percent>\d+(?:\.\d+)?)%")

ResultsA = Annotated[Path, typer.Argument(help="results of an experiment, or a cell", metavar="A")]
ResultsB = Annotated[Path, typer.Argument(help="what is compared with it", metavar="B")]
Within = Annotated[
    list[str] | None,
    typer.Option(
        "--within",
        metavar="[NUMBER=]P%",
        help="differences of up to so much of A do not count, of every number or of one as accuracy=0.5%",
    ),
]
IncludeInvalid = Annotated[bool, typer.Option("--include-invalid", help="compare cells that missed a validity gate")]
Every = Annotated[bool, typer.Option("--all", help="print the numbers of a campaign that do not differ, too")]


def compare(
    a: ResultsA,
    b: ResultsB,
    within: Within = None,
    every: Every = False,
    include_invalid: IncludeInvalid = False,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Compare two campaigns or cells: exit code 0 no difference beyond noise, 1 some, 2 not compared."""
    from analysis.compare import compare as compare_cells
    from testbed.record.reader import read_results

    try:
        shares = tolerances(within or [])
        if a.resolve() == b.resolve():
            raise TestbedError(f"{a}: A and B are the same results")
        found = compare_cells(
            read_results(a, complain), read_results(b, complain), shares, include_invalid=include_invalid
        )
        if not found.judged:
            raise TestbedError("each has a single repeat, so nobody knows the noise; measure at least two (repeats: 2)")
    except TestbedError as error:
        complain(str(error), style="red")
        raise typer.Exit(EXIT_NOT_COMPARABLE) from error
    if as_json:
        print_document(_document(found))
    else:
        _print(found, every=every or len(found.pairs) == 1)
    if found.beyond:
        raise typer.Exit(EXIT_DIFFERENT)
    if found.refused:
        raise typer.Exit(EXIT_NOT_COMPARABLE)


def tolerances(texts: Sequence[str]) -> dict[str, float]:
    """The shares that `--within` asks for, by the number's name; that of all numbers by a blank name.

    Raises:
        TestbedError: one is no percentage, or of no number that is compared.
    """
    from analysis.compare.numbers import NUMBERS

    found = {}
    for text in texts:
        said = _WITHIN.fullmatch(text)
        if said is None:
            raise TestbedError(f"--within {text}: expected a percentage, as 5% or latency_p50_ms=5%")
        name = said["name"] or ""
        if name and name not in NUMBERS:
            raise TestbedError(f"--within {text}: no number {name} is compared; there is {', '.join(NUMBERS)}")
        found[name] = float(said["percent"]) / 100
    return found


def _print(found: Comparison, every: bool) -> None:
    """Every number of each pair, or those alone that are more than noise or might be."""
    for pair in found.pairs:
        a, b = pair.a.manifest, pair.b.manifest
        title = a.label if a.label == b.label else f"{a.label} | {b.label}"
        shown = [each for each in pair.differences if every or each.verdict != "within noise"]
        left_out = len(pair.differences) - len(shown)
        _say(f"{title} ({a.cell} | {b.cell})" + (f": {left_out} numbers within noise" if left_out else ""))
        if shown:
            print_rows(["", "A", "B", "difference", "95% interval", "[%]", "verdict"], map(_row, shown))
            _say("")
    _once_for_all("note", found, lambda pair: pair.notes)
    _once_for_all("differs", found, lambda pair: [_fact(fact) for fact in pair.facts])
    for line in (*found.refused, *found.alone):
        _say(f"not compared: {line}")
    unclear = sum(each.verdict == "unclear" for each in found.judged)
    more = f"; {unclear} more would alone, but not among so many" if unclear else ""
    _say(f"{len(found.beyond)} of {len(found.judged)} numbers differ beyond noise{more}")


def _once_for_all(word: str, found: Comparison, lines_of: Callable[[Pair], Sequence[str]]) -> None:
    """Each line once, with the cells that it is about where these are not all."""
    everywhere: dict[str, list[str]] = {}
    for pair in found.pairs:
        for line in lines_of(pair):
            everywhere.setdefault(line, []).append(pair.a.manifest.label)
    for line, labels in everywhere.items():
        where = "" if len(labels) == len(found.pairs) else f" ({'; '.join(labels)})"
        _say(f"{word}: {line}{where}")


def _fact(fact: FactDifference) -> str:
    return f"{fact.name}: {_short(fact.a)} | {_short(fact.b)}"


def _row(found: Difference) -> list[str]:
    spread = "" if found.low is None or found.high is None else f"{found.low:+.4g} to {found.high:+.4g}"
    percent = "" if found.percent is None else f"{found.percent:+.2f}"
    name = f"{found.name}" + ("" if found.unit in ("fraction", "timestep") else f" [{found.unit}]")
    return [name, f"{found.a:.5g}", f"{found.b:.5g}", f"{found.difference:+.4g}", spread, percent, found.verdict]


def _short(text: str | None) -> str:
    if text is None:
        return "-"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "differs": bool(found.beyond),
        "beyond_noise": len(found.beyond),
        "judged": len(found.judged),
        "pairs": [_pair(pair) for pair in found.pairs],
        "refused": found.refused,
        "alone": found.alone,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "a": {"cell": pair.a.manifest.cell, "label": pair.a.manifest.label},
        "b": {"cell": pair.b.manifest.cell, "label": pair.b.manifest.label},
        "notes": pair.notes,
        "numbers": [
            {
                "name": each.name,
                "unit": each.unit,
                "a": each.a,
                "b": each.b,
                "difference": each.difference,
                "difference_lo": each.low,
                "difference_hi": each.high,
                "percent": each.percent,
                "paired": each.paired,
                "tolerance": each.tolerance,
                "p": each.p,
                "verdict": each.verdict,
            }
            for each in pair.differences
        ],
        "facts": [fact._asdict() for fact in pair.facts],
    }
