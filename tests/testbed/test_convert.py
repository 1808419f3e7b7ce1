"""`testbed convert` says what a log of tegrastats says, line by line, and counts what is none of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.devices.tegrastats_lines import L4T_21, L4T_28, L4T_32, L4T_32_NOT_ROOT, L4T_35, LINES

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("TESTBED_DATA")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # it would flush where the code forgot to
COMMAND = [sys.executable, "-m", "testbed", "convert"]
KEYS = [
    "line",
    "timestamp",
    "ram_used_mb",
    "ram_total_mb",
    "gr3d_load_pct",
    "emc_load_pct",
    "cpu_load_pct",
    "rails_mw",
    "total_rail",
    "total_mw",
    "temps_c",
]


def convert(log: Path | str, text: str | None = None) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, rows and standard error."""
    done = subprocess.run(
        [*COMMAND, str(log)], input=text, capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "nano.log"


def test_a_line_becomes_an_object_with_what_it_says(log: Path) -> None:
    log.write_text(f"{L4T_35}\n{L4T_32}\n")
    code, rows, err = convert(log)
    assert (code, err) == (0, "")
    assert rows == [
        {
            "line": 1,
            "timestamp": "2025-04-11T10:36:27",
            "ram_used_mb": 4321,
            "ram_total_mb": 62801,
            "gr3d_load_pct": 0,
            "emc_load_pct": 0,
            "cpu_load_pct": [0],
            "rails_mw": {"VDD_GPU_SOC": 2340, "VDD_CPU_CV": 390, "VIN_SYS_5V0": 4025, "VDDQ_VDD2_1V8AO": 301},
            "total_rail": ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
            "total_mw": 6755,
            "temps_c": {"CV0": None, "Tboard": 32.0},
        },
        {
            "line": 2,
            "timestamp": None,
            "ram_used_mb": 900,
            "ram_total_mb": 3900,
            "gr3d_load_pct": 0,
            "emc_load_pct": 0,
            "cpu_load_pct": [5, None],
            "rails_mw": {"POM_5V_IN": 1750, "POM_5V_GPU": -4},
            "total_rail": "POM_5V_IN",
            "total_mw": 1750,
            "temps_c": {"PLL": 37.0, "AO": None},
        },
    ]
    assert [list(row) for row in rows] == [KEYS, KEYS]


def test_what_a_line_does_not_say_is_null(log: Path) -> None:
    log.write_text(f"{L4T_21}\n{L4T_32_NOT_ROOT}\nRAM 1/2MB\n")
    code, rows, _ = convert(log)
    assert code == 0
    assert [(row["total_rail"], row["total_mw"], row["rails_mw"]) for row in rows] == [(None, None, {})] * 3
    assert [row["gr3d_load_pct"] for row in rows] == [7, 12, None]
    assert rows[2]["cpu_load_pct"] is None


def test_lines_of_something_else_are_counted_and_keep_their_number(log: Path) -> None:
    log.write_bytes(b"\n".join([b"$ tegrastats", L4T_28.encode(), b"", b"\xff\xfe", L4T_28.encode() + b"\r", b"^C"]))
    code, rows, err = convert(log)
    assert code == 0
    assert [row["line"] for row in rows] == [2, 5]
    assert err == f"testbed: {log}: 4 of 6 lines are not tegrastats', the first is line 1\n"


def test_a_log_comes_on_standard_input_too() -> None:
    code, rows, err = convert("-", f"hello\n{L4T_28}\n")
    assert (code, [row["total_mw"] for row in rows]) == (0, [1776])
    assert err == "testbed: -: 1 of 2 lines are not tegrastats', the first is line 1\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_log_that_a_windows_shell_wrote_is_read_as_well(log: Path, encoding: str) -> None:
    log.write_bytes(f"{L4T_28}\r\n{L4T_28}\r\n".encode(encoding))
    code, rows, err = convert(log)
    assert (code, [row["total_mw"] for row in rows], err) == (0, [1776, 1776], "")


def test_a_line_is_converted_before_the_next_is_there() -> None:
    with subprocess.Popen([*COMMAND, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(L4T_28.encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["total_mw"] == 1776
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_line_without_an_end_is_one_line_of_something_else(log: Path) -> None:
    log.write_text("x" * 300_000 + L4T_28 + "\n" + L4T_28)
    code, rows, err = convert(log)
    assert (code, [row["line"] for row in rows]) == (0, [2])
    assert "1 of 2 lines" in err


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda log: None, "cannot be read: No such file or directory"),
        (lambda log: log.mkdir(), "cannot be read: Is a directory"),
        (lambda log: log.write_text(""), "none of its 0 lines is a line of tegrastats"),
        (lambda log: log.write_bytes(bytes(range(256)) * 1000), "none of its 2001 lines is a line of tegrastats"),
        (lambda log: log.write_text("time,power\n1,2\n"), "none of its 2 lines is a line of tegrastats"),
    ],
)
def test_a_bad_file_is_one_line_and_a_failure(log: Path, make: Any, error: str) -> None:
    make(log)
    code, rows, err = convert(log)
    assert (code, rows, err) == (1, [], f"testbed: {log}: {error}\n")


def test_a_reader_that_has_enough_is_no_error_to_speak_of(log: Path) -> None:
    log.write_text(f"{L4T_28}\n" * 20_000)
    with subprocess.Popen(
        [*COMMAND, str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["line"] == 1
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) != 0


def test_a_full_disk_is_an_error(log: Path) -> None:
    log.write_text(L4T_28)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, str(log)], stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "testbed: the rows cannot be written: No space left on device\n"


def test_every_release_is_converted(log: Path) -> None:
    log.write_text("\n".join(line for line, _ in LINES.values()))
    code, rows, err = convert(log)
    assert (code, err, len(rows)) == (0, "", len(LINES))
    for row, (_, said) in zip(rows, LINES.values(), strict=True):
        assert row["rails_mw"] == {rail: values[0] for rail, values in said.get("rails_mw", {}).items()}


@pytest.mark.skipif(not DATA, reason="TESTBED_DATA names no folder of real logs")
def test_every_line_of_a_real_log_becomes_a_row() -> None:
    for path in sorted((Path(DATA or "") / "tegrastats").glob("*.log")):
        code, rows, err = convert(path)
        assert (code, err) == (0, "")
        assert [row["line"] for row in rows] == list(range(1, path.read_bytes().count(b"\n") + 1))
