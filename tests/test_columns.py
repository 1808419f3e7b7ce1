"""docs/results.md names every column of every file, in its order, with its unit and where counting begins."""

import re
import typing
from pathlib import Path

import msgspec
import pytest

from analysis.factors import FACTORS
from analysis.metrics.registry import FIRST, LAST
from testbed.record.documents import Status
from testbed.record.schema import ClockEstimate, ClockLine, EventRow
from testbed.record.tables import TABLES

ROOT = Path(__file__).parents[1]
STRUCTS: dict[str, type[msgspec.Struct]] = {
    **{f"{name}.parquet": row for name, row in TABLES.items()},
    "events.jsonl": EventRow,
    "clock.json": ClockEstimate,
    "clock.json, lines": ClockLine,
    "status.json": Status,
}
UNITS = {"ns": "ns", "ms": "ms", "s": "s", "bytes": "B", "mw": "mW", "ppm": "ppm", "spikes": "spikes", "bits": "bit"}
"""A unit stands in the last part of a column's name."""
COUNTED = {"request_id", "sample_index", "repeat", "label", "prediction", "exit_timestep", "timestep", "repeats_done"}


def columns() -> dict[str, list[tuple[str, str, str]]]:
    """Column, unit and text of each table below `## Columns`, by its heading; a second table is `HEADING, lines`."""
    _, _, text = (ROOT / "docs" / "results.md").read_text().partition("\n## Columns\n")
    found: dict[str, list[tuple[str, str, str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.startswith("`lines`"):
            heading += ", lines"
        elif line.startswith("| `") or line.startswith("| metrics"):
            name, unit, told = (word.strip() for word in line.strip("|").split(" |"))
            found.setdefault(heading, []).append((name.strip("`"), unit, told))
    return found


PAGE = columns()


@pytest.mark.parametrize("file", STRUCTS)
def test_the_page_names_the_columns_of_a_file_in_their_order(file: str) -> None:
    assert [name for name, _, _ in PAGE[file]] == list(STRUCTS[file].__struct_fields__)


@pytest.mark.parametrize("file", STRUCTS)
def test_the_page_says_the_unit_that_a_columns_name_has(file: str) -> None:
    told = {name: unit for name, unit, _ in PAGE[file]}
    named = {name: UNITS.get(name.rpartition("_")[2], told[name]) for name in told}
    assert told == named


@pytest.mark.parametrize("file", STRUCTS)
def test_the_page_says_what_may_be_blank(file: str) -> None:
    hints = typing.get_type_hints(STRUCTS[file])
    may_be = {name for name, hint in hints.items() if type(None) in typing.get_args(hint)}
    assert {name for name, _, told in PAGE[file] if "blank" in told} == may_be


@pytest.mark.parametrize("file", STRUCTS)
def test_the_page_says_where_counting_begins(file: str) -> None:
    told = {name for name, _, told in PAGE[file] if re.search(r"counted from [01]", told)}
    assert told == COUNTED & set(STRUCTS[file].__struct_fields__)


def test_the_page_has_the_columns_of_the_summary_with_the_factors_words() -> None:
    rows = PAGE["summary.csv"]
    assert [name for name, _, _ in rows] == [*FIRST, "metrics", *LAST]
    factors = {factor.name: (factor.unit, factor.meaning) for factor in FACTORS}
    assert {name: (unit, told) for name, unit, told in rows if name in factors} == factors
