"""What the pages name is there: modules, files, links between pages."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "results" / "README.md", *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"`([^`\n]+)`")
MODULE = re.compile(r"(?:testbed|devices|analysis|tests)(?:\.[a-z_0-9]+)+")
ENTRY_POINTS = ("testbed.codecs", "testbed.modes", "testbed.metrics", "testbed.figures", "testbed.power_sources")
FILE = re.compile(r"(?:testbed|devices|analysis|tests|experiments|docs)/[\w./-]*\w/?")
YOURS = {"devices/orin-01.yaml"}
"""A file that the reader makes."""
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or stands in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
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
    gone |= {name for name in files if not (ROOT / name).exists()}
    assert not gone - YOURS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path):
    gone = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not gone


def table(page: Path, first: str) -> list[dict[str, str]]:
    """The rows of the Markdown table whose header begins so."""
    lines = page.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = [[word.strip() for word in line.strip("|").split("|")] for line in lines[start:]]
    end = next((number for number, line in enumerate(lines[start:]) if not line.startswith("|")), len(rows))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:end]]


def test_the_readme_shows_the_numbers_of_the_reference():
    measured = table(ROOT / "results" / "reference" / "quickstart" / "tables" / "summary.md", "cell")
    shown = table(ROOT / "README.md", "cell")
    assert [row["cell"] for row in shown] == [row["cell"] for row in measured]
    for row, reference in zip(shown, measured, strict=True):
        assert row["accuracy [%]"] == reference["accuracy [%]"]
        assert row["p50 [ms]"] == reference["p50 [ms]"]
        assert row["edge energy [mJ], emulated"] == reference["energy (emulated) [mJ]"]
        assert row["payload up [B]"].removesuffix(".0") == reference["payload up [B]"].removesuffix(".0")
