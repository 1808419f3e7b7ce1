"""docs/own-network.md as written: its network is trained, evaluated and measured, and there is a figure."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from testbed.record.reader import read_campaign

PAGE = Path(__file__).parents[2] / "docs" / "own-network.md"
FILE = re.compile(r"^```\w+\n# ([\w.-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_YAML, MOST_PYTHON = 15, 20


@pytest.fixture
def page(lab):
    """The page's folder, on an edge that is slow enough for a busy machine to play it."""
    devices = lab.folder / "devices"
    devices.mkdir()
    shutil.move(lab.device("emulated-orin-nano", "emulated-orin-nano", slowdown=15), devices)
    shutil.move(lab.device("host"), devices)
    lab.environment["OMP_NUM_THREADS"] = "1"  # two threads that wait for each other take longer
    (lab.results / "models").unlink()  # those that the tests share
    for name, text in FILE.findall(PAGE.read_text()):
        (lab.folder / name).write_text(text)
    return lab


def test_the_page_leads_from_nothing_to_a_figure(page):
    outputs = []
    for command in COMMANDS.findall(PAGE.read_text())[0].splitlines():
        done = page.run(*command.split()[1:])
        assert done.code == 0, done.text
        outputs.append(done.out)
    assert "coded: after conv2, 32x4x4 spikes, sends a code of 16x2x2 bits: 256x" in outputs[0]
    assert "co-inference conv2 256x packed" in outputs[1]
    folder = page.results / "own"
    cells = {cell.manifest.mode: cell for cell in read_campaign(folder, pytest.fail)}
    assert set(cells) == {"edge_only", "co_inference"}
    for cell in cells.values():
        assert (cell.requests["outcome"] == "ok").all()
        assert cell.manifest.model.backbone == "three_layers"
        assert cell.manifest.model.accuracy_per_timestep["full"][-1] > 0.5  # of ten classes
    assert set(cells["co_inference"].timesteps["code_bits"]) == {64}
    assert (folder / "figures" / "tradeoff.svg").stat().st_size > 1000


def test_the_page_is_as_short_as_it_says():
    files = dict(FILE.findall(PAGE.read_text()))
    lines = {name: len([line for line in text.splitlines() if line]) for name, text in files.items()}
    python = [line for line in files["three_layers.py"].splitlines() if line and not line.startswith(" " * 8)]
    assert "Beside the segments it is 5 lines of Python, 9\nof YAML for the recipe and 8 for" in PAGE.read_text()
    assert len(python) == 5 <= MOST_PYTHON
    assert lines["three-layers.yaml"] == 9 <= MOST_YAML
    assert lines["own.yaml"] == 8
