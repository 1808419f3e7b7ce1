"""Traces of rates: three ways to write one, and everything else that a file may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.base.errors import DeviceError
from devices.links.conditions import MOST_POINTS, Capacity
from devices.links.spec import Format, Way
from devices.links.traces import MOST_BYTES, read_trace


def points(file: Path, text: str, way: Way = "up", named: Format | None = None) -> list[tuple[int, int]]:
    file.write_text(text)
    capacity = read_trace(file, way, named)
    return list(zip(capacity.ms, capacity.bytes, strict=True))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def test_each_line_of_a_mahimahi_trace_is_1500_bytes_at_its_millisecond(file: Path):
    assert points(file, "3\n3\n7\n") == [(0, 0), (2, 0), (3, 3000), (6, 3000), (7, 4500)]


def test_chances_at_zero_are_of_the_first_millisecond(file: Path):
    assert points(file, "0\n0\n1\n3\n") == [(0, 0), (1, 4500), (2, 4500), (3, 6000)]
    assert points(file, "0\n2\n") == [(0, 0), (2, 3000)]


def test_a_steady_mahimahi_trace_is_two_points(file: Path):
    assert points(file, "".join(f"{ms}\n" for ms in range(1, 5001))) == [(0, 0), (5000, 7_500_000)]


def chances_after(capacity: Capacity, ms: int) -> float:
    """Chances up to a moment, by plain reading of the points."""
    for (a, b), (c, d) in zip(
        zip(capacity.ms, capacity.bytes, strict=True),
        zip(capacity.ms[1:], capacity.bytes[1:], strict=True),
        strict=False,
    ):
        if a <= ms <= c:
            return (b + (d - b) * (ms - a) / (c - a)) / 1500
    raise AssertionError(ms)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_merged_points_lose_nothing(tmp_path_factory: pytest.TempPathFactory, moments: list[int]):
    file = tmp_path_factory.mktemp("traces") / "trace"
    moments.sort()
    file.write_text("\n".join(map(str, moments)))
    capacity = read_trace(file, "up")
    assert capacity.ms[-1] == moments[-1]
    for ms in range(moments[-1] + 1):
        assert chances_after(capacity, ms) == sum(moment <= ms for moment in moments)


@pytest.mark.parametrize("between", ["\t", " ", "  "])
def test_a_rate_holds_until_the_next_one_and_the_last_as_long_as_the_one_before(file: Path, between: str):
    text = f"0.0{between}8\n0.5{between}0\n1.5{between}4\n"
    assert points(file, text) == [(0, 0), (500, 500_000), (1500, 500_000), (2500, 1_000_000)]


def test_time_begins_with_the_first_row(file: Path):
    assert points(file, "1700000000 8\n1700000001 16\n") == [(0, 0), (1000, 1_000_000), (2000, 3_000_000)]


def test_rates_of_rows_that_are_no_whole_milliseconds_keep_their_sum(file: Path):
    rows = "".join(f"{i * 0.0333:.4f} 3\n" for i in range(300))
    [start, end] = points(file, rows)
    assert start == (0, 0)
    assert end[1] == round(end[0] * 375)
    assert end[0] == pytest.approx(300 * 33.3, abs=1)


@pytest.mark.parametrize(
    ("header", "row", "rate"),
    [
        ("seconds,mbit_s", "1,8", 1000),
        ("ms,kbit_s", "1000,8000", 1000),
        ("ms , Bit_s", "1000 , 8e6", 1000),
        ("bytes_s,ms", "1000000,1000", 1000),
        ("ms,bytes", "1000,1000000", 1000),
    ],
)
def test_the_header_of_a_csv_says_the_units(file: Path, header: str, row: str, rate: int):
    again = row.replace("1000", "2000", 1) if header.startswith("ms") else row.replace("1,", "2,", 1)
    if header.startswith("bytes_s"):
        again = "1000000,2000"
    assert points(file, f"{header}\n{row}\n{again}\n") == [(0, 0), (2000, 2000 * rate)]


def test_columns_of_a_direction_are_for_that_direction(file: Path):
    text = "ms,up_mbit_s,down_mbit_s\r\n0,8,16\r\n1000,8,16\r\n"
    assert points(file, text, "up") == [(0, 0), (2000, 2_000_000)]
    assert points(file, text, "down") == [(0, 0), (2000, 4_000_000)]


def test_empty_lines_and_a_byte_order_mark_mean_nothing(file: Path):
    file.write_bytes(b"\xef\xbb\xbf\n1\n\n2\r\n\n")
    assert read_trace(file, "up").ms == [0, 2]


WRONG: list[tuple[str, int, str]] = [
    ("", 1, "the file is empty"),
    ("\n\n", 1, "the file is empty"),
    ("hello\n", 1, "does not tell what kind of trace"),
    ("0.5\n1.5\n", 1, "does not tell what kind of trace"),
    ("0,5\n1,5\n", 1, "a header with columns of seconds, ms"),
    ("1 2 3\n", 1, "does not tell what kind of trace"),
    ("-1\n2\n", 1, "does not tell what kind of trace"),
    ("1\n-2\n", 2, "expected a whole number of ms from 0 on, got `-2`"),
    ("1\n2.5\n", 2, "expected a whole number of ms"),
    ("1\n١\n", 2, "expected numbers as text"),
    ("5\n4\n", 2, "expected the moments in order, got 4 ms after 5 ms"),
    ("0\n0\n", 2, "expected a last moment after 0 ms"),
    ("1\n700000000\n", 2, "at most 168 hours"),
    ("1\n" + "9" * 900 + "\n", 2, "expected a whole number"),
    ("1\n" + "9" * 2000 + "\n", 2, "this one has 2,001 bytes"),
    ("0 5\n1 -3\n", 2, "expected a number of mbit_s from 0 on, got `-3`"),
    ("0 5\n1 nan\n", 2, "got `nan`"),
    ("0 5\n1 inf\n", 2, "got `inf`"),
    ("0 5\n1 1_0\n", 2, "got `1_0`"),
    ("0 5\n1 2000000\n", 2, "expected at most 100,000 Mbit/s"),
    ("0 5\n1\n", 2, "expected two numbers"),
    ("0 5\n2 5\n1 5\n", 3, "expected each row at least 1 ms after"),
    ("0 5\n0.0001 5\n", 2, "expected each row at least 1 ms after"),
    ("0 0\n1 0\n", 2, "this carries nothing"),
    ("0 5\n999999 5\n", 2, "at most 168 hours"),
    ("seconds,mbits\n0,1\n", 1, "column `mbits` is not known; expected seconds, ms, mbit_s"),
    ("up_seconds,mbit_s\n0,1\n", 1, "column `up_seconds` is not known"),
    ("seconds,ms,mbit_s\n0,0,1\n", 1, "expected one column that says when"),
    ("mbit_s,up_mbit_s\n0,1\n", 1, "expected one column that says when"),
    ("ms,mbit_s,up_mbit_s\n0,1,1\n", 1, "expected one column that says how much goes up"),
    ("ms,down_mbit_s\n0,1\n", 1, "expected one column that says how much goes up"),
    ("ms,mbit_s\n", 1, "expected rows after the header"),
    ("ms,mbit_s\n0,1,2\n", 2, "expected 2 columns, got 3"),
    ("ms,mbit_s\n0,x\n", 2, "expected a number of mbit_s from 0 on, got `x`"),
    ("ms,bytes\n0,-1\n", 2, "expected a number of bytes"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG, ids=[f"{text[:20]!r}" for text, _, _ in WRONG])
def test_a_wrong_line_is_named_and_told(file: Path, text: str, line: int, said: str):
    with pytest.raises(DeviceError) as error:
        points(file, text)
    assert str(error.value).startswith(f"{file}:{line}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "raw", [b"\x89PNG\r\n\x1a\n\0\0", b"1\n\0\0\0\n", bytes(range(256)) * 10, "1\n2\n".encode("utf-16")]
)
def test_a_binary_file_is_one_line(file: Path, raw: bytes):
    file.write_bytes(raw)
    with pytest.raises(DeviceError, match=r"^[^\n]*trace:\d+: expected [^\n]*$"):
        read_trace(file, "up")


def test_a_file_too_large_to_be_a_trace_is_not_read(file: Path):
    with file.open("wb") as handle:
        handle.truncate(MOST_BYTES * 1000)
    with pytest.raises(DeviceError, match="larger than 64 MiB"):
        read_trace(file, "up")


def test_a_folder_is_no_trace(tmp_path: Path):
    with pytest.raises(DeviceError, match="expected a file, it is a folder"):
        read_trace(tmp_path, "up")


def test_a_trace_with_too_many_changes_says_where_it_became_so(file: Path):
    rows = "".join(f"{ms},{ms % 2 + 1}\n" for ms in range(MOST_POINTS + 10))
    with pytest.raises(DeviceError, match=rf"trace:{MOST_POINTS + 2}: the rate changes more than 200,000 times"):
        points(file, "ms,mbit_s\n" + rows)


@given(st.binary(max_size=200), st.sampled_from([None, "mahimahi", "seconds_mbit_s", "csv"]))
def test_any_bytes_are_a_trace_or_one_line_of_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, named: Format | None
):
    file = tmp_path_factory.mktemp("bytes") / "trace"
    file.write_bytes(raw)
    said = ""
    try:
        read_trace(file, "up", named)
    except DeviceError as error:
        said = str(error)
    assert "\n" not in said
