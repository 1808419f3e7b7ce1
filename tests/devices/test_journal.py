"""The undo journal by itself: changes are numbers in a file, undone by writing the old number back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.base.errors import DeviceError
from devices.journal import Journal, Undo, restore_left_behind

ROOT = Path(__file__).parents[2]
CHANGE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.devices.test_journal import change, kinds
from devices.journal import Journal
folder, value = Path(sys.argv[1]), Path(sys.argv[2])
journal = Journal(folder, "run killed, repeat 0", "boot-1", kinds())
for number in sys.argv[3:]:
    change(journal, value, number)
print("changed", flush=True)
if value.suffix == ".alive":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def undo(before: dict[str, Any]) -> None:
    path = Path(before["path"])
    if path.with_suffix(".stuck").exists():
        raise DeviceError(f"{path.name} is stuck at {path.read_text()}")
    path.write_text(before["text"])


def kinds(survives_reboot: bool = True) -> dict[str, Undo]:
    return {"number": Undo(undo, survives_reboot)}


def change(journal: Journal, path: Path, text: str) -> None:
    before = path.read_text()
    journal.record("number", str(path), f"{path.name} {before} → {text}", {"path": str(path), "text": before})
    path.write_text(text)


def child(folder: Path, value: Path, *numbers: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHANGE_AND_DIE, str(folder), str(value), *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"changed\n"
    return process


def killed(folder: Path, value: Path, *numbers: str) -> None:
    process = child(folder, value, *numbers)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def left(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def value(tmp_path: Path) -> Path:
    path = tmp_path / "value"
    path.write_text("0")
    return path


def test_changes_are_undone_in_reverse_and_nothing_is_left(folder: Path, value: Path) -> None:
    journal = Journal(folder, "run a", "boot-1", kinds())
    change(journal, value, "1")
    change(journal, value, "2")
    assert journal.restore() == ["value 1 → 2", "value 0 → 1"]
    assert value.read_text() == "0"
    assert left(folder) == []
    assert journal.restore() == []


def test_a_run_that_changes_nothing_leaves_no_file(folder: Path) -> None:
    assert Journal(folder, "run a", "boot-1", kinds()).restore() == []
    assert not folder.exists()


def test_the_change_is_on_disk_before_it_is_made(folder: Path, value: Path) -> None:
    journal = Journal(folder, "run a", "boot-1", kinds())
    journal.record("number", str(value), "value 0 → 1", {"path": str(value), "text": "0"})
    (path,) = left(folder)
    header, line = map(json.loads, path.read_text().splitlines())
    assert (header["owner"], header["boot_id"]) == ("run a", "boot-1")
    assert line["before"] == {"path": str(value), "text": "0"}
    journal.restore()


def test_what_a_killed_run_changed_is_put_back_by_the_next_contact(folder: Path, value: Path) -> None:
    killed(folder, value, "1", "2")
    assert value.read_text() == "2"
    (found,) = restore_left_behind(folder, kinds(), "boot-1")
    assert found.owner == "run killed, repeat 0"
    assert found.restored == ["value 1 → 2", "value 0 → 1"]
    assert value.read_text() == "0"
    assert left(folder) == []
    assert restore_left_behind(folder, kinds(), "boot-1") == []


def test_a_run_that_lives_keeps_its_changes_and_its_target(folder: Path, tmp_path: Path) -> None:
    value = tmp_path / "value.alive"
    value.write_text("0")
    other = tmp_path / "other"
    other.write_text("7")
    with child(folder, value, "1"):
        (found,) = restore_left_behind(folder, kinds(), "boot-1")
        assert found.in_use
        assert value.read_text() == "1"
        second = Journal(folder, "run b", "boot-1", kinds())
        with pytest.raises(DeviceError, match="changed by another run, run killed, repeat 0"):
            change(second, value, "5")
        assert value.read_text() == "1"
        change(second, other, "8")
        second.restore()
        assert other.read_text() == "7"
    restore_left_behind(folder, kinds(), "boot-1")
    assert value.read_text() == "0"


@pytest.mark.parametrize(("survives", "after"), [(True, "0"), (False, "reset by the boot")])
def test_after_a_reboot_only_what_outlives_one_is_undone(folder: Path, value: Path, survives: bool, after: str) -> None:
    killed(folder, value, "1")
    value.write_text("1" if survives else "reset by the boot")
    (found,) = restore_left_behind(folder, kinds(survives), "boot-2")
    assert len(found.restored) == 1
    assert ("undone by the reboot since" in found.restored[0]) is not survives
    assert value.read_text() == after
    assert left(folder) == []


def test_what_cannot_be_undone_stays_in_the_journal_and_is_named(folder: Path, value: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("7")
    journal = Journal(folder, "run a", "boot-1", kinds())
    change(journal, value, "1")
    change(journal, other, "8")
    stuck = other.with_suffix(".stuck")
    stuck.touch()
    with pytest.raises(DeviceError, match="left changed by run a: other 7 → 8: other is stuck at 8"):
        journal.restore()
    assert value.read_text() == "0"  # the others are put back all the same
    stuck.unlink()
    assert journal.restore() == ["other 7 → 8"]
    assert (other.read_text(), left(folder)) == ("7", [])


def test_a_line_torn_by_a_power_cut_announces_nothing_that_was_done(folder: Path, value: Path) -> None:
    killed(folder, value, "1", "2")
    (path,) = left(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # the second change: announced in part, so never made
    value.write_text("1")
    (found,) = restore_left_behind(folder, kinds(), "boot-1")
    assert found.restored == ["value 0 → 1"]
    assert value.read_text() == "0"


def test_restoring_that_is_itself_cut_short_goes_on_where_it_stopped(folder: Path, value: Path) -> None:
    killed(folder, value, "1", "2")
    (path,) = left(folder)
    with path.open("ab") as file:
        file.write(b'{"type":"undone","number":1}\n{"type":"und')
    value.write_text("1")
    (found,) = restore_left_behind(folder, kinds(), "boot-1")
    assert found.restored == ["value 0 → 1"]
    assert value.read_text() == "0"


def test_a_damaged_journal_is_an_error_that_names_file_and_line(folder: Path, value: Path) -> None:
    killed(folder, value, "1")
    (path,) = left(folder)
    path.write_bytes(path.read_bytes().replace(b'"number":0', b'"number":"?"'))
    with pytest.raises(DeviceError, match=rf"{path}:2: the undo journal is damaged.*then delete it"):
        restore_left_behind(folder, kinds(), "boot-1")
    assert path.exists()


def test_a_kind_that_nobody_here_can_undo_is_said_and_kept(folder: Path, value: Path) -> None:
    killed(folder, value, "1")
    (found,) = restore_left_behind(folder, {}, "boot-1")
    assert "this testbed knows no number" in found.failed[0]
    assert len(left(folder)) == 1


def test_a_change_that_cannot_be_noted_is_not_made(tmp_path: Path, value: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "state", "run a", "boot-1", kinds())
    with pytest.raises(DeviceError, match="the undo journal cannot be kept there"):
        change(journal, value, "1")
    assert value.read_text() == "0"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 600), numbers=st.lists(st.integers(1, 99), min_size=1, max_size=4))
def test_a_journal_cut_anywhere_restores_what_it_announces_in_whole(
    tmp_path: Path, cut: int, numbers: list[int]
) -> None:
    folder, value = tmp_path / "cut", tmp_path / "value"
    value.write_text("0")
    journal = Journal(folder, "run a", "boot-1", kinds())
    for number in numbers:
        change(journal, value, str(number))
    (path,) = left(folder)
    whole = path.read_bytes()
    journal.restore()
    data = whole[:cut]
    announced = max(0, data.count(b"\n") - 1)
    value.write_text(str(([0, *numbers])[announced]))
    path.write_bytes(data)
    restore_left_behind(folder, kinds(), "boot-1")
    assert value.read_text() == "0"
    assert left(folder) == []
