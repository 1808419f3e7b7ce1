"""What the pages tell to type or to write is taken: verbs with their options, blocks of YAML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from devices.profile import load_profile
from testbed.cli.app import app
from testbed.experiment import load_experiment
from testbed.snn.recipe import load_recipe
from tests.test_docs import PAGES, ROOT, name_of

COMMAND = re.compile(r"(?:^ +|`)(?:\.venv/bin/)?testbed ([a-z][a-z|]*)\b([^`#\n]*)", re.MULTILINE)
"""A command in a block, or in the text between backticks."""
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
TRAIN = ROOT / "experiments" / "train"
EXPERIMENT = f"""\
name: of-a-page
models:
  plain: {{recipe: {TRAIN}/digits-resnet18.yaml, variant: plain}}
  coded: {{recipe: {TRAIN}/digits-resnet18.yaml, variant: coded}}
  resnet18: {{recipe: {TRAIN}/small-resnet18.yaml, variant: stage2-512x}}
nodes: {{edge: edge.yaml, cloud: cloud.yaml}}
"""
"""What a page leaves out around the block of an experiment that it speaks of."""
BOARD = "name: board\nkind: jetson\nreach: local\nruntime: {provider: cpu}\n"


def verbs() -> dict[str, set[str]]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {name: {"--help", *(word for each in one.params for word in each.opts)} for name, one in commands.items()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_is_a_verb_that_takes_these_options(page: Path) -> None:
    there = verbs()
    for named, rest in COMMAND.findall(page.read_text()):
        for verb in named.split("|"):
            assert verb in there, f"testbed {verb}"
            assert set(OPTION.findall(rest)) <= there[verb], f"testbed {verb}{rest}"


def blocks(page: str) -> Iterator[str]:
    """The indented blocks of a page."""
    for found in re.findall(r"(?:^ {4}.*\n(?:^\n(?= {4}))?)+", (ROOT / "docs" / page).read_text(), re.MULTILINE):
        yield textwrap.dedent(found)


def block(page: str, first: str) -> str:
    """The one block of a page that begins so."""
    (found,) = (text for text in blocks(page) if text.startswith(first))
    return found


def written(folder: Path, text: str) -> Path:
    path = folder / "of-a-page.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("page", "first", "without"),
    [
        ("hardware.md", "name: orin-01", None),
        ("hardware.md", "kind: emulated", None),
        ("hardware.md", "settings:", "gpu_clocks_mhz"),
        ("power-tegrastats.md", "power:\n  - source: tegrastats", None),
        ("power-tegrastats.md", "power:\n  - source: jtop", None),
    ],
)
def test_a_device_is_read_as_a_page_has_it(page: str, first: str, without: str | None, tmp_path: Path) -> None:
    text = block(page, first)
    if first.startswith(("settings", "power")):
        text = BOARD + text
    elif not text.startswith("name"):
        text = f"name: board\n{text}"
    lines = [line for line in text.splitlines() if without is None or without not in line]
    assert load_profile(written(tmp_path, "\n".join(lines))).name in ("board", "orin-01")


def test_a_recipe_is_read_as_the_page_has_it(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, block("training.md", "name: my-recipe")))
    assert recipe.compression(recipe.variants["coded"]) == 2048


def test_the_second_seed_of_the_page_is_the_one_that_ships() -> None:
    assert block("training.md", "base: ").strip() == (TRAIN / "digits-curve-seed1.yaml").read_text().strip()


def test_an_ann_stands_beside_a_spiking_network_as_the_page_has_it(tmp_path: Path) -> None:
    text = block("training.md", "models:").replace("recipe: train/", f"recipe: {TRAIN}/")
    nodes = "name: of-a-page\nnodes: {edge: edge.yaml, cloud: cloud.yaml}\n"
    early, ann = load_experiment(written(tmp_path, nodes + text)).cells
    assert (early.variant, ann.variant) == ("stem-2048x", None)


def test_sweeps_make_as_many_cells_as_the_page_says(tmp_path: Path) -> None:
    lists = load_experiment(written(tmp_path, EXPERIMENT + block("experiment.md", "cells:")))
    assert len(lists.cells) == 1 + 4
    one = textwrap.indent(block("experiment.md", "- mode: co_inference"), "  ")
    swept = load_experiment(written(tmp_path, f"{EXPERIMENT}cells:\n{one}"))
    assert len(swept.cells) == 16
    assert "That makes 4 · 2 · 2 = 16 cells." in (ROOT / "docs" / "experiment.md").read_text()


def test_a_profile_is_laid_over_as_the_page_has_it(tmp_path: Path) -> None:
    profile = block("experiment.md", "profiles:").replace("../train/", f"{TRAIN}/")
    cells = "cells: [{mode: edge_only, model: resnet18}]\n"
    small = load_experiment(written(tmp_path, EXPERIMENT + profile + cells), ("profile=small",))
    assert (small.name, small.repeats, small.scenario.requests) == ("of-a-page-small", 2, 20)


def test_a_cell_has_each_exit_of_the_page(tmp_path: Path) -> None:
    exits = block("measurement.md", "exit: ").splitlines()
    assert len(exits) == 3
    for line in exits:
        cell = f"cells:\n  - mode: co_inference\n    model: coded\n    codec: packed\n    {line}\n"
        (one,) = load_experiment(written(tmp_path, EXPERIMENT + cell)).cells
        assert one.exit is not None
