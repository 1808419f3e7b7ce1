"""The reproduction, small: every experiment of the paper runs on an emulated board (make test-paper; minutes)."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.record.reader import read_campaign

pytestmark = [pytest.mark.paper, pytest.mark.timeout(3600)]

FILES = sorted((Path(__file__).parents[2] / "experiments" / "paper").glob("*.yaml"))


def test_all_experiments_of_the_paper_run_small_in_one_command(lab) -> None:
    results = lab.folder / "reproduction"
    done = lab.run("run", *FILES, "--set", "profile=small", "--results", results, seconds=3500)
    assert done.code == 0, done.text
    for path in FILES:
        folder = results / f"paper-{path.stem}-small"
        cells = read_campaign(folder, pytest.fail)
        assert all(cell.complete for cell in cells)
        assert all(cell.manifest.label.endswith(" [small]") for cell in cells)
        assert (folder / "report.html").exists()
