"""A line of tegrastats says what it says, whatever its release, and no line of anything else says more."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.tegrastats import Reading, parse
from tests.devices.tegrastats_lines import L4T_28, L4T_32_NOT_ROOT, L4T_35, L4T_38, L4T_39, LINES, NOTHING, XAVIER

DATA = os.environ.get("TESTBED_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TESTBED_DATA names no folder of real lines and logs")


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_every_release_is_read(name: str) -> None:
    line, said = LINES[name]
    reading = parse(line)
    assert reading is not None
    assert asdict(reading) == NOTHING | said


@pytest.mark.parametrize(
    ("line", "rails", "mw"),
    [
        (L4T_28, ("VDD_IN",), 1776),
        (XAVIER, ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), 54321),
        (L4T_35, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), 2340 + 390 + 4025),
        (L4T_38, ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), 3132 + 9397 + 5680),
        (L4T_39, ("VIN",), 87426),
        (L4T_32_NOT_ROOT, None, None),
        (XAVIER.replace("CV 0/9", ""), None, None),
    ],
)
def test_the_whole_node_is_the_present_power_of_the_rails_that_make_it_up(
    line: str, rails: tuple[str, ...] | None, mw: int | None
) -> None:
    reading = parse(line)
    assert reading is not None
    assert (reading.whole, reading.total_mw) == (rails, mw)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "hello",
        "tegrastats: command not found",
        "VDD_IN is at 3/4 of its limit",
        "VDD_IN 2003/2658",
        "RAM 1/2GB",
        "08-14-2025 15:00:57",
        "{'RAM': 5}",
        "RAM ٣/٤MB",  # digits, but none of tegrastats'
    ],
)
def test_what_is_no_line_of_tegrastats_is_none(line: str) -> None:
    assert parse(line) is None


def test_two_lines_that_ran_together_are_none() -> None:
    assert parse(f"{L4T_28} {L4T_28}") is None
    assert parse(f"{L4T_32_NOT_ROOT} {L4T_32_NOT_ROOT}") is None
    assert parse(L4T_28 + L4T_28.replace("RAM", " GR3D_FREQ 0%@1 VDD_IN 1/1")) is None


def test_a_line_behind_the_padding_of_a_power_cut_is_read() -> None:
    assert parse("\0" * 4000 + L4T_28 + "\r\n") == parse(L4T_28)


def test_a_number_beyond_all_sense_is_not_said() -> None:
    line = L4T_28.replace("1776", "9" * 5000).replace("BCPU@41", "BCPU@" + "4" * 5000)
    reading = parse(line)
    assert reading is not None
    assert set(reading.rails_mw) == {"VDD_CPU", "VDD_WIFI"}
    assert set(reading.temps_c) == {"PMIC", "thermal"}


def test_a_field_that_goes_on_is_not_the_field() -> None:
    reading = parse(L4T_28.replace("1776/1853", "1776/1853kB").replace("41C", "41Cx"))
    assert reading is not None
    assert set(reading.rails_mw) == {"VDD_CPU", "VDD_WIFI"}
    assert set(reading.temps_c) == {"PMIC", "thermal"}


def test_a_date_that_is_none_is_not_said() -> None:
    reading = parse(L4T_35.replace("04-11", "31-31"))
    assert reading is not None
    assert (reading.timestamp, reading.ram_used_mb) == (None, 4321)


def test_a_line_cut_off_at_any_place_never_says_another_power() -> None:
    whole = parse(L4T_39)
    assert whole is not None
    for length in range(len(L4T_39)):
        reading = parse(L4T_39[:length])
        assert reading is None or reading.power_mw.items() <= whole.power_mw.items()


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A line after some edits: pieces deleted, doubled, moved, or overwritten."""
    line, _ = LINES[draw(st.sampled_from(sorted(LINES)))]
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(line)))
        end = draw(st.integers(start, min(len(line), start + 40)))
        piece = draw(
            st.sampled_from(["", line[start:end] * 2, line[start:end][::-1]])
            | st.text(alphabet="0123456789/@%[](),.-CmW \t\0٣offRAMcpuNC", max_size=12)
            | st.text(max_size=8)
        )
        at = draw(st.sampled_from([start, end, len(line)]))
        line = line[:start] + piece + line[at:]
    return line


@given(mutated())
def test_a_mutated_line_raises_nothing_and_says_nothing_absurd(line: str) -> None:
    check(parse(line))


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_any_text_raises_nothing(text: str) -> None:
    check(parse(text))


def check(reading: Reading | None) -> None:
    if reading is None:
        return
    assert all(1 < len(values) <= 3 for values in reading.rails_mw.values())
    assert "NC" not in reading.rails_mw
    assert all(celsius is None or celsius > -256 for celsius in reading.temps_c.values())
    assert (reading.cpu_load_pct is None) == (reading.cpu_freq_mhz is None)
    if reading.cpu_load_pct is not None and reading.cpu_freq_mhz is not None:
        assert len(reading.cpu_load_pct) == len(reading.cpu_freq_mhz) > 0
    if reading.whole is not None:
        assert reading.total_mw == sum(reading.rails_mw[rail][0] for rail in reading.whole)


def expected(reading: Reading, wanted: dict[str, Any]) -> dict[str, Any]:
    """A reading in the words of the file of real lines."""
    whole = reading.whole
    said = json.loads(json.dumps(asdict(reading), default=str)) | {
        "timestamp": reading.timestamp and reading.timestamp.isoformat(),
        "n_cpu": None if reading.cpu_load_pct is None else len(reading.cpu_load_pct),
        "n_cpu_off": None if reading.cpu_load_pct is None else reading.cpu_load_pct.count(None),
        "total_power_rail": whole and (whole[0] if len(whole) == 1 else list(whole)),
        "total_power_mw": reading.total_mw,
    }
    if whole:
        names = ("total_power_mw", "total_power_avg_mw", "total_power_max_mw")
        said |= dict(zip(names, reading.rails_mw[whole[0]], strict=False)) if len(whole) == 1 else {}
    return {name: said[name] for name in wanted}


@needs_data
def test_every_real_line_is_read_as_a_careful_reader_does() -> None:
    cases = [json.loads(text) for text in (Path(DATA or "") / "tegrastats_lines.jsonl").read_text().splitlines()]
    assert len(cases) >= 29
    for case in cases:
        reading = parse(case["line"])
        assert reading is not None, case["line"]
        assert expected(reading, case["expected"]) == case["expected"], case["board"]


@needs_data
def test_every_line_of_every_real_log_is_read() -> None:
    logs = sorted((Path(DATA or "") / "tegrastats").glob("*.log"))
    assert logs
    for log in logs:
        for number, line in enumerate(log.read_text().splitlines(), 1):
            reading = parse(line)
            assert reading is not None, f"{log}:{number}"
            assert reading.total_mw is not None, f"{log}:{number}"
            assert reading.cpu_load_pct, f"{log}:{number}"
