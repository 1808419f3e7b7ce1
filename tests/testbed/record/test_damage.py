"""Whatever is torn or missing in a cell is named in one line, and every other cell is still read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from devices.base.power import PowerRow
from devices.base.rowlog import RowLog
from testbed.campaign import collect_cell
from testbed.cli.app import app
from testbed.errors import RecordError
from testbed.record.layout import CellFolder
from testbed.record.reader import read_campaign
from testbed.record.tables import read_table, write_table
from tests.made import cells

PIECES = ["requests.parquet", "timesteps.parquet", "power.parquet", "network.parquet", "events.jsonl", "clock.json"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def garbled(path: Path) -> None:
    path.write_bytes(bytes(np.random.default_rng(3).integers(0, 256, path.stat().st_size, dtype=np.uint8)))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    for position, name in enumerate(("aaaa", "bbbb")):
        cell = cells.begun(tmp_path / name, repeats=1, cell=name, label=f"cell {name}", config=cells.config(position))
        cells.measured(cell, 0)
        assert collect_cell(cell).state == "complete"
    return tmp_path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two thousand power samples that no two are alike."""
    rng = np.random.default_rng(1)
    with RowLog(tmp_path / "rows") as log:
        log.append(
            *(
                PowerRow(node="n", source="s", rail="r", scope="rail", t_ns=int(t), mw=float(mw))
                for t, mw in zip(rng.integers(0, 2**40, 2000), rng.normal(5000, 100, 2000), strict=True)
            )
        )
    write_table(tmp_path / "t.parquet", PowerRow, [tmp_path / "rows"])
    return tmp_path / "t.parquet"


def read(folder: Path) -> tuple[list[str], list[str]]:
    """The cells that are read, and the lines about damage."""
    lines: list[str] = []
    return [cell.manifest.cell for cell in read_campaign(folder, lines.append)], lines


def test_what_is_sound_has_no_lines(experiment: Path) -> None:
    assert read(experiment) == (["aaaa", "bbbb"], [])


@pytest.mark.parametrize("harm", [cut, emptied, removed, garbled])
@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_that_is_torn_or_missing_is_one_line_and_the_cells_are_all_there(
    experiment: Path, piece: str, harm: Callable[[Path], None]
) -> None:
    path = experiment / "bbbb" / piece
    if (piece, harm) == ("events.jsonl", emptied):
        pytest.skip("a cell without events is none that lost them")
    harm(path)
    found, [line] = read(experiment)
    assert found == ["aaaa", "bbbb"]
    assert line.startswith(f"{path}")
    assert "\n" not in line
    assert len(line) < 500 + len(str(path))


@pytest.mark.parametrize("harm", [cut, emptied, garbled])
def test_a_status_that_is_torn_leaves_the_cell_unfinished(experiment: Path, harm: Callable[[Path], None]) -> None:
    harm(experiment / "bbbb/status.json")
    lines: list[str] = []
    found = read_campaign(experiment, lines.append)
    assert [cell.complete for cell in found] == [True, False]
    assert any(line.startswith(f"{experiment / 'bbbb/status.json'}: ") for line in lines)


def test_a_status_that_is_gone_is_told_where_there_are_tables(experiment: Path) -> None:
    removed(experiment / "bbbb/status.json")
    assert read(experiment)[1] == [f"{experiment / 'bbbb/status.json'}: missing; testbed run judges the cell again"]


@pytest.mark.parametrize("harm", [cut, emptied, removed, garbled])
def test_a_cell_without_its_manifest_is_one_line_and_the_others_are_there(
    experiment: Path, harm: Callable[[Path], None]
) -> None:
    harm(experiment / "aaaa/manifest.json")
    found, [line] = read(experiment)
    assert found == ["bbbb"]
    assert line.startswith(f"{experiment / 'aaaa/manifest.json'}: ")


def test_what_a_full_disk_left_behind_is_no_cell_and_no_piece(experiment: Path) -> None:
    (experiment / "aaaa/.requests.parquet.4711.part").write_bytes(b"PAR1")
    (experiment / ".previous/20250304/cccc").mkdir(parents=True)
    (experiment / ".previous/20250304/cccc/manifest.json").write_bytes(b"")
    assert read(experiment) == (["aaaa", "bbbb"], [])


def test_documents_without_any_table_are_one_line(experiment: Path) -> None:
    for path in (experiment / "bbbb").glob("*.parquet"):
        removed(path)
    assert read(experiment)[1] == [
        f"{experiment / 'bbbb'}: the documents are there and the tables are not; testbed run makes it again from raw/"
    ]


def test_nothing_that_can_be_read_is_an_error_of_its_own(experiment: Path) -> None:
    for name in ("aaaa", "bbbb"):
        emptied(experiment / name / "manifest.json")
    with pytest.raises(RecordError, match="holds no cell that can be read"):
        read(experiment)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_events_that_are_no_file_are_one_line_and_nothing_hangs(experiment: Path, kind: str) -> None:
    path = next(experiment.glob("*/events.jsonl"))
    path.unlink()
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    cells, lines = read(experiment)
    assert [line for line in lines if "events.jsonl" in line and "expected a file" in line]
    assert cells


def test_collecting_again_mends_what_was_torn(experiment: Path) -> None:
    for piece in PIECES:
        emptied(experiment / "bbbb" / piece)
    collect_cell(CellFolder(experiment / "bbbb"))
    assert read(experiment) == (["aaaa", "bbbb"], [])


def test_a_bit_that_fell_over_in_a_page_is_found_by_its_checksum(table: Path) -> None:
    data = bytearray(table.read_bytes())
    sound = pq.read_table(table)
    column = pq.ParquetFile(table).metadata.row_group(0).column(sound.column_names.index("mw"))
    data[column.dictionary_page_offset + column.total_compressed_size // 2] ^= 1
    table.write_bytes(data)
    assert not pq.read_table(table).equals(sound), "without the checksum it is a number like any other"
    with pytest.raises(RecordError, match=r"t\.parquet: damaged \(.*\); testbed run makes it again from raw/"):
        read_table(table, PowerRow)


FLIPS = """
import sys
from pathlib import Path
import numpy as np
from devices.base.power import PowerRow
from testbed.errors import RecordError
from testbed.record.tables import read_table

path = Path(sys.argv[1])
whole, rng, told = path.read_bytes(), np.random.default_rng(7), 0
for _ in range(400):
    data = bytearray(whole)
    at = len(data) - 1 - int(rng.integers(0, min(len(data), 3000)))  # the footer most of all
    data[at] ^= 1 << int(rng.integers(0, 8))
    path.write_bytes(data[: int(rng.integers(0, len(data)))] if rng.random() < 0.3 else data)
    try:
        read_table(path, PowerRow)
    except RecordError as error:
        assert str(error).startswith(str(path)) and "\\n" not in str(error), error
        told += 1
print(told)
"""


def test_whatever_pyarrow_makes_of_a_damaged_file_is_an_error_that_names_it(table: Path) -> None:
    # A process of its own: what a footer says may end one that believes it.
    done = subprocess.run(
        [sys.executable, "-c", FLIPS, str(table)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


@pytest.mark.parametrize("verb", ["show", "tables", "figures", "report"])
def test_each_verb_names_the_damage_in_one_line_and_shows_the_other_cells(experiment: Path, verb: str) -> None:
    cut(experiment / "bbbb/requests.parquet")
    emptied(experiment / "bbbb/clock.json")
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [verb, str(experiment)])
    lines = done.stderr.splitlines()
    assert done.exit_code == 1
    assert [line for line in lines if "requests.parquet" in line or "clock.json" in line] == lines[:2], done.stderr
    assert "Traceback" not in done.stderr
    if verb == "show":
        assert "cell aaaa" in done.stdout
    if verb == "report":
        assert "cell aaaa" in (experiment / "report.html").read_text()
    if verb == "tables":
        assert "cell aaaa" in (experiment / "summary.csv").read_text()
