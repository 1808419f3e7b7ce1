"""The results that the documentation speaks of can be read by the testbed that they ship with."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from testbed.record.layout import ResultsFolder
from testbed.record.reader import read_cell

REFERENCE = ResultsFolder(Path(__file__).parents[3] / "results" / "reference")
NAMES = (
    "cifar10-resnet18",
    "cifar10-splits",
    "gpu-cloud",
    "gpu-cloud-cpu",
    "large-input",
    "link-sweep",
    "lte-trace",
    "outage",
    "quickstart",
    "schedules",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_manifests_of_a_reference_are_of_this_schema_and_fit_its_summary(name) -> None:
    folder = REFERENCE.experiment(name)
    # What is shipped are the documents, without the rows.
    cells = sorted((read_cell(cell.path) for cell in folder.cells()), key=lambda cell: cell.manifest.config.position)
    assert all(cell.complete for cell in cells)
    for cell in cells:
        manifest = cell.manifest
        assert [node.role for node in manifest.nodes.values()].count("edge") == 1
        assert (manifest.sends == "nothing") == (not manifest.role("cloud"))
        assert all(len(node.repeats) == manifest.repeats for node in manifest.nodes.values())
    with folder.summary.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["cell"], row["label"]) for row in rows] == [
        (cell.manifest.cell, cell.manifest.label) for cell in cells
    ]


def test_every_reference_is_read_here() -> None:
    assert {path.parents[1].name for path in REFERENCE.root.glob("*/*/manifest.json")} == set(NAMES)


def test_no_reference_names_a_folder_of_the_machine_that_measured_it() -> None:
    told = [read_cell(cell.path).manifest.invocation for name in NAMES for cell in REFERENCE.experiment(name).cells()]
    assert not [word for one in told if one is not None for word in (*one.argv, one.file) if word.startswith("/")]
