"""A folder has one writer, and what is not its plan's is moved aside."""

from __future__ import annotations

import pytest

from testbed.campaign.aside import held, set_aside
from testbed.errors import RecordError
from testbed.record.layout import ResultsFolder
from tests.made import cells


@pytest.fixture
def folder(tmp_path):
    """Two cells, a summary, and what an earlier campaign had moved aside."""
    found = ResultsFolder(tmp_path).experiment("toy")
    for name in ("kept", "other"):
        cells.begun(found.cell(name).path)
    found.summary.write_text("cell\n")
    (found.previous / "earlier").mkdir(parents=True)
    return found


def test_two_campaigns_do_not_write_to_one_folder(folder) -> None:
    with held(folder), pytest.raises(RecordError, match=r"toy: another testbed run is writing here \(.*\"pid\""):  # noqa: SIM117
        with held(folder):
            pass
    with held(folder):
        pass


def test_a_run_anew_moves_everything_aside_and_deletes_nothing(folder) -> None:
    with held(folder):
        moved = set_aside(folder, {"kept"}, fresh=True)
    assert moved is not None
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", ".previous"]
    assert sorted(path.name for path in moved.iterdir()) == ["kept", "other", "summary.csv"]
    assert (folder.previous / "earlier").exists()


def test_going_on_moves_only_cells_of_another_plan_aside(folder) -> None:
    moved = set_aside(folder, {"kept"}, fresh=False)
    assert moved is not None
    assert [path.name for path in moved.iterdir()] == ["other"]
    assert [cell.path.name for cell in folder.cells()] == ["kept"]
    assert folder.summary.exists()
    assert set_aside(folder, {"kept"}, fresh=False) is None
