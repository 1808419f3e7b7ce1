from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.base.errors import DeviceError
from tests.fakes.disk import small_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "activity"


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000

    def __call__(self) -> int:
        return self.now_ns


@given(steps=st.lists(st.tuples(st.sampled_from(Activity), st.integers(0, 10**12)), max_size=20))
def test_every_nanosecond_is_counted_for_the_activity_that_ran(
    steps: list[tuple[Activity, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "activity"
    clock = Clock()
    writer = ActivityWriter(path, clock)
    reader = ActivityReader(path)
    expected = [0] * len(Activity)
    for activity, duration_ns in steps:
        writer.set(activity)
        clock.now_ns += duration_ns
        expected[activity] += duration_ns
        assert reader.totals(clock.now_ns) == tuple(expected)
    writer.close()
    reader.close()


def test_the_running_activity_counts_up_to_now(path: Path) -> None:
    clock = Clock()
    writer = ActivityWriter(path, clock)
    reader = ActivityReader(path)
    clock.now_ns += 5
    writer.set(Activity.CPU)
    assert reader.totals(clock.now_ns + 7) == (5, 7, 0)
    assert reader.read().activity is Activity.CPU
    reader.close()
    writer.close()


def test_an_activity_may_be_told_late_with_its_true_beginning_and_end(path: Path) -> None:
    clock = Clock()
    writer = ActivityWriter(path, clock)
    reader = ActivityReader(path)
    began_ns = clock.now_ns
    clock.now_ns += 1_000
    writer.set(Activity.GPU, began_ns + 100, began_ns + 400)
    assert reader.totals(clock.now_ns) == (700, 0, 300)
    clock.now_ns += 1_000
    writer.set(Activity.IDLE, began_ns + 300)  # it ended before its time
    assert reader.totals(clock.now_ns) == (1_800, 0, 200)
    writer.set(Activity.CPU)
    writer.draw(1_000_000)
    writer.set(Activity.CPU, began_ns + 1_500, began_ns + 1_800)  # it had begun before it was told
    clock.now_ns += 1_000
    assert reader.totals(clock.now_ns) == (2_500, 300, 200)
    assert reader.read().radio.taken_at(clock.now_ns) == 1_000
    reader.close()
    writer.close()


def test_a_closed_writer_leaves_the_board_idle(path: Path) -> None:
    clock = Clock()
    writer = ActivityWriter(path, clock)
    writer.set(Activity.CPU)
    clock.now_ns += 100
    writer.close()
    writer.close()
    reader = ActivityReader(path)
    assert reader.totals(clock.now_ns + 50) == (50, 100, 0)
    reader.close()


def test_the_radio_draws_until_told_otherwise_and_then_for_so_long(path: Path) -> None:
    clock = Clock()
    writer = ActivityWriter(path, clock)
    reader = ActivityReader(path)
    writer.draw(2_000_000)  # 2 W
    clock.now_ns += 1_000
    assert reader.read().radio.taken_at(clock.now_ns + 500) == 3_000
    writer.draw(1_000_000, 4_000, taken_nj=70)
    assert [reader.read().radio.taken_at(clock.now_ns + ns) for ns in (0, 4_000, 9_000)] == [2_070, 6_070, 6_070]
    clock.now_ns += 9_000
    writer.set(Activity.CPU)
    assert reader.read().radio.taken_at(clock.now_ns + 10**9) == 6_070
    reader.close()
    writer.close()


def test_a_closed_writer_leaves_the_radio_off(path: Path) -> None:
    clock = Clock()
    writer = ActivityWriter(path, clock)
    reader = ActivityReader(path)
    writer.draw(1_000_000)
    clock.now_ns += 1_000
    writer.close()
    assert reader.read().radio.taken_at(clock.now_ns + 10**9) == 1_000
    reader.close()


def test_times_are_those_of_the_monotonic_clock(path: Path) -> None:
    before_ns = time.monotonic_ns()
    writer = ActivityWriter(path)
    reader = ActivityReader(path)
    assert before_ns <= reader.read().since_ns <= time.monotonic_ns()
    reader.close()
    writer.close()


def test_a_reader_of_an_earlier_run_is_not_disturbed_by_the_next(path: Path) -> None:
    first = ActivityWriter(path)
    first.set(Activity.CPU)
    reader = ActivityReader(path)
    second = ActivityWriter(path)
    assert reader.read().activity is Activity.CPU
    reader.close()
    first.close()
    second.close()
    assert [file.name for file in path.parent.iterdir()] == ["activity"]


SPIN = """
import sys, pathlib
from devices.activity import Activity, ActivityWriter
writer = ActivityWriter(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
while True:
    writer.draw(1_288_040)
    writer.set(Activity.CPU)
    writer.draw(1_060_000, 1_000_000_000, 1_000)
    writer.set(Activity.IDLE)
"""


@pytest.fixture
def spinning_writer(path: Path) -> Iterator[None]:
    # A process of its own: a thread would hold the interpreter lock through each of the writer's stores.
    with subprocess.Popen([sys.executable, "-c", SPIN, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.kill()


@pytest.mark.usefixtures("spinning_writer")
def test_a_reader_never_sees_a_torn_record(path: Path) -> None:
    reader = ActivityReader(path)
    records = [reader.read()]
    changes = 0
    while changes < 50:  # a busy machine needs longer for as many
        records.append(reader.read())
        changes += records[-1].since_ns != records[-2].since_ns
    reader.close()
    starts = {record.since_ns - sum(record.totals_ns) for record in records}
    assert len(starts) == 1, "a record whose counters do not add up to its own time was read"
    assert all(one.since_ns <= other.since_ns for one, other in pairwise(records))


def half_write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(("offset", "data"), [(0, b"\x07"), (20, b"\xff\xff")], ids=["sequence", "content"])
def test_a_record_left_half_written_is_an_error(path: Path, offset: int, data: bytes) -> None:
    ActivityWriter(path).close()
    half_write(path, offset, data)
    reader = ActivityReader(path)
    with pytest.raises(DeviceError, match="stays half-written"):
        reader.read()
    reader.close()


def test_a_missing_or_short_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no activity record"):
        ActivityReader(tmp_path / "absent")
    (tmp_path / "short").write_bytes(b"1234")
    with pytest.raises(DeviceError, match="no activity record"):
        ActivityReader(tmp_path / "short")


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom devices.activity import ActivityWriter\n"
        "from devices.base.errors import DeviceError\n"
        "try:\n    ActivityWriter(Path(sys.argv[1]))\nexcept DeviceError as error:\n    print(error)\n"
    )
    with small_disk(tmp_path / "disk", kib=16) as disk:
        disk.fill()
        path = disk.folder / "activity"
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"{path}: cannot be written: No space left on device\n")
        assert [left.name for left in disk.folder.iterdir()] == [".ballast"]
