"""A real campaign whose disk fills up: one line, no traceback, and a resume that goes on where it was."""

from __future__ import annotations

import pytest

from tests.fakes.disk import small_disk
from tests.integration.conftest import Lab

CELLS = ({"mode": "edge_only", "model": "plain"}, {"mode": "co_inference", "model": "coded", "codec": "packed"})


@pytest.mark.parametrize("leave_pages", [0, 40])
def test_a_disk_that_is_full_costs_no_row_and_no_traceback(lab: Lab, leave_pages: int) -> None:
    with small_disk(lab.campaign, kib=4096) as disk:
        experiment = lab.experiment(*CELLS, repeats=2)
        running = lab.start("run", experiment, "--results", lab.results, "--no-report")
        first = lab.wait_until_measuring()
        disk.fill(leave_pages)
        ended = running.outcome(150)
        assert ended.code == 1, ended.err
        assert "Traceback" not in ended.err + ended.out
        assert "No space left on device" in ended.err + ended.out
        assert lab.recorded(first) >= 3
        lab.wait_until_nodes_are_gone()
        disk.make_room()
        again = lab.run("run", experiment, "--results", lab.results, "--no-report")
        assert "Traceback" not in again.err + again.out
        assert all(cell.complete for cell in lab.cells())
