"""The page about links says what the files say."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from devices.links.conditions import Direction
from devices.links.describe import describe
from devices.links.formats import AMOUNT, RATES, TIMES
from devices.links.load import link_names, load_link
from devices.links.spec import DirectionSpec, Format, LinkSpec
from devices.links.traces import read_trace

PAGE = (Path(__file__).parents[3] / "docs" / "links.md").read_text()
COLUMNS = ["link", "up [Mbit/s]", "down [Mbit/s]", "delay [ms]", "jitter [ms]", "loss", "queue [ms]", "rates from"]


def table(first: str) -> list[list[str]]:
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def rate(said: dict[str, float]) -> str:
    if said["min"] == said["max"]:
        return f"{said['mean']:g}"
    return f"{said['mean']:.1f} ({said['min']:.1f} to {said['max']:.1f})"


def test_the_table_of_shipped_links_is_that_of_the_files():
    header, _, *rows = table("link")
    assert header == COLUMNS
    assert [row[0] for row in rows] == [f"`{name}`" for name in link_names()]
    for row in rows:
        link = load_link(row[0].strip("`"))
        said = describe(link)
        assert row[1:3] == [rate(said["up"]["mbit_s"]), rate(said["down"]["mbit_s"])], link.name
        for way in (link.up, link.down):
            queue = "" if way.queue_ms is None else f"{way.queue_ms:g}"
            assert row[3:7] == [f"{way.delay_ms:g}", f"{way.jitter_ms:g}", f"{way.loss:g}", queue], link.name
        assert row[7].split()[0].rstrip(",") in link.source


def test_every_key_column_and_format_is_on_the_page():
    keys = {*LinkSpec.__struct_fields__, *DirectionSpec.__struct_fields__, *TIMES, *RATES, AMOUNT, *get_args(Format)}
    assert {key for key in keys if f"`{key}" not in PAGE} == set()
    assert set(Direction.__struct_fields__) - {"capacity"} < set(DirectionSpec.__struct_fields__)


@pytest.mark.parametrize("named", get_args(Format))
def test_the_examples_of_formats_are_of_these_formats(tmp_path: Path, named: Format):
    start = PAGE.index(f"`{named}`")
    example = PAGE[PAGE.index("```text\n", start) + 8 :].split("```")[0]
    (tmp_path / "trace").write_text(example)
    assert read_trace(tmp_path / "trace", "up") == read_trace(tmp_path / "trace", "up", named)


def test_the_example_of_a_profile_loads(tmp_path: Path):
    (tmp_path / "drive.csv").write_text("seconds,mbit_s\n0,5\n")
    (tmp_path / "my-lte.yaml").write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    assert load_link(tmp_path / "my-lte.yaml").name == "my-lte"
