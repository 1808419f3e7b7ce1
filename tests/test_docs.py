"""What the pages name is there: modules, files, links between pages."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from analysis.figures.registry import FIGURES, OF_MODELS
from devices.base.plugins import ON_NODES
from devices.radios import RADIOS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "results" / "reference").rglob("README.md"),
        *(ROOT / page for page in ("README.md", "CHANGELOG.md", "results/README.md", "experiments/paper/README.md")),
    ]
)
CODE = re.compile(r"`([^`\n]+)`")
MODULE = re.compile(r"(?:testbed|devices|analysis|tests)(?:\.[a-z_0-9]+)+")
ENTRY_POINTS = (*ON_NODES, "testbed.metrics", "testbed.figures")
FILE = re.compile(r"(?:testbed|devices|analysis|tests|experiments|docs)/[\w./*-]*\w/?")
YOURS = {"devices/orin-01.yaml"}
"""A file that the reader makes."""
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or stands in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        if spec is not None:
            module = importlib.import_module(".".join(parts[:length]))
            return all(hasattr(module, part) for part in parts[length : length + 1])
    return False


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_and_file_that_a_page_names_is_there(page: Path):
    named = CODE.findall(page.read_text())
    modules = {name for text in named for name in MODULE.findall(text) if name not in ENTRY_POINTS}
    files = {name for text in named for name in FILE.findall(text) if not re.search(r"[A-Z]{3,}", name)}
    gone = {name for name in modules if "/" not in name and not name.endswith(".py") and not is_there(name)}
    gone |= {name for name in files if not any(ROOT.glob(name))}
    assert not gone - YOURS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path):
    gone = []
    for file, anchor in LINK.findall(page.read_text()):
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            gone.append(f"{file}#{anchor}")
    assert not gone


def anchors(page: Path) -> set[str]:
    """What a link may name of a page after `#`: its headings, as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def table(page: Path, first: str) -> list[dict[str, str]]:
    """The rows of the Markdown table whose header begins so."""
    lines = page.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line[:1] == "|" and line.split("|")[1].strip() == first)
    rows = [[word.strip() for word in line.strip("|").split("|")] for line in lines[start:]]
    end = next((number for number, line in enumerate(lines[start:]) if not line.startswith("|")), len(rows))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:end]]


def test_the_readme_shows_the_numbers_of_the_reference():
    measured = table(ROOT / "results" / "reference" / "quickstart" / "tables" / "summary.md", "cell")
    shown = table(ROOT / "README.md", "cell")
    assert [row["cell"] for row in shown] == [row["cell"] for row in measured]
    for row, reference in zip(shown, measured, strict=True):
        assert row["accuracy [%]"] == reference["accuracy [%]"]
        assert row["median [ms]"] == reference["median [ms]"]
        assert row["mean edge energy [mJ], emulated"] == reference["mean energy (emulated) [mJ]"]
        assert row["mean payload up [B]"].removesuffix(".0") == reference["mean payload up [B]"].removesuffix(".0")


def test_the_readme_shows_the_headline_of_the_reference_campaign():
    measured: dict[tuple[str, str], str] = {}
    for row in table(ROOT / "results" / "reference" / "cifar10-resnet18" / "tables" / "headline.md", "data set"):
        form = row["backbone"].rpartition(", ")[2]
        measured[row["quantity"], form] = f"{row['here']} ({row['95% interval']})"
        measured[row["quantity"], "paper"] = row["paper"]
    shown = {
        (row["quantity"], column): row[column]
        for row in table(ROOT / "README.md", "quantity")
        for column in ("paper", "float", "int8")
        if row[column]
    }
    assert shown == measured


def test_the_table_of_radios_says_what_the_radios_are():
    rows = table(ROOT / "docs" / "links.md", "technology")
    told = {
        row["technology"].strip("`"): tuple(
            float(row[column]) for column in ("up [mJ/Mbit]", "down [mJ/Mbit]", "on [mW]", "tail [mW]", "tail [s]")
        )
        for row in rows[:-1]
    }
    assert told == {
        name: (radio.up_mj_per_mbit, radio.down_mj_per_mbit, radio.active_mw, radio.tail_mw, radio.tail_s)
        for name, radio in RADIOS.items()
    }
    assert rows[-1]["technology"] == "`other`"


def test_the_table_of_figures_is_that_of_the_registry():
    rows = table(ROOT / "docs" / "figures.md", "figure")
    told = {row["figure"].strip("`"): (row["what it shows"], row["file"].strip("`")) for row in rows}
    modules = {name: draw.__module__ for name, draw in [*FIGURES.items(), *OF_MODELS.items()]}
    first_lines = {name: sys.modules[module].__doc__.strip().splitlines()[0] for name, module in modules.items()}
    assert told == {name: (first_lines[name], f"{module.replace('.', '/')}.py") for name, module in modules.items()}
