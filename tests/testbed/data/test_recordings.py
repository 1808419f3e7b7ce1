"""Recordings: parsed as SpikingJelly parses them and as their formats say, and cut into frames as SpikingJelly does."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.datasets import cifar10_dvs, integrate_events_by_fixed_frames_number, load_ATIS_bin

from testbed.data.framing import frame_all, to_frames
from testbed.data.recordings import Recording, atis_bytes, read_aedat, read_atis, read_simulated
from testbed.errors import DataError
from tests.testbed.data.conftest import aedat_file, atis_file, one_line, random_events

DATA = Path(os.environ.get("TESTBED_DATA", "nowhere")) / "events"
real = pytest.mark.skipif(not DATA.exists(), reason="needs the real recordings (TESTBED_DATA)")

events = st.lists(
    st.tuples(st.integers(0, (1 << 23) - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 1)), max_size=50
)


def recording(rows: list[tuple[int, int, int, int]]) -> Recording:
    return Recording(*np.array(sorted(rows), dtype=np.int64).reshape(-1, 4).T)


@given(events)
@settings(deadline=None, max_examples=50)
def test_what_is_written_in_the_40_bit_format_is_read_back(tmp_path_factory, rows):
    wanted = recording(rows)
    path = tmp_path_factory.mktemp("atis") / "a.bin"
    path.write_bytes(atis_bytes(wanted.t, wanted.x, wanted.y, wanted.p).tobytes())
    found = read_simulated(path)
    for key in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(found, key), getattr(wanted, key))


def test_the_40_bits_are_where_the_format_has_them():
    one = atis_bytes(np.array([0x123456]), np.array([7]), np.array([9]), np.array([1]))
    assert one.tobytes() == bytes([7, 9, 0x92, 0x34, 0x56])


@pytest.mark.parametrize(("t", "x", "y"), [(1 << 23, 0, 0), (0, 256, 0), (0, 0, 256), (-1, 0, 0)])
def test_events_that_do_not_fit_are_refused(t, x, y):
    with pytest.raises(DataError, match="do not fit"):
        atis_bytes(np.array([t]), np.array([x]), np.array([y]), np.array([0]))


def test_a_dvs128_recording_is_read_as_spikingjelly_turns_it(tmp_path):
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat_file(3, 200))
    found, (t, x, y, p) = read_aedat(path), random_events(3, 200, 128, 128)
    np.testing.assert_array_equal(found.t, t)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.y, y)
    np.testing.assert_array_equal(found.p, p)


def test_a_recording_cut_short_is_refused(tmp_path):
    (tmp_path / "a.bin").write_bytes(atis_file(0)[:-2])
    with pytest.raises(DataError, match="cut short"):
        read_atis(tmp_path / "a.bin")
    for trim in (2, 4):
        (tmp_path / "a.aedat").write_bytes(aedat_file(0)[:-trim])
        with pytest.raises(DataError, match="cut short"):
            read_aedat(tmp_path / "a.aedat")


def test_an_ordinary_recording_is_read_as_spikingjelly_reads_it(tmp_path):
    (tmp_path / "a.bin").write_bytes(atis_file(4, 500))
    (tmp_path / "a.aedat").write_bytes(aedat_file(4, 500))
    for found, theirs in (
        (read_atis(tmp_path / "a.bin"), load_ATIS_bin(tmp_path / "a.bin")),
        (read_aedat(tmp_path / "a.aedat"), cifar10_dvs._load_origin_data(tmp_path / "a.aedat")),  # noqa: SLF001
    ):
        for key in ("t", "x", "y", "p"):
            np.testing.assert_array_equal(getattr(found, key), theirs[key])


def marked(*rows: tuple[int, int, int, int]) -> bytes:
    """40-bit records of (t, x, y, p) in the order given."""
    return atis_bytes(*np.array(rows).T).tobytes()


def test_an_overflow_marker_is_no_event_and_moves_the_times_after_it(tmp_path):
    path = tmp_path / "a.bin"
    first = ((50, 1, 2, 1), (8000, 3, 4, 0), (8191, 0, 240, 0), (100, 5, 6, 1))
    path.write_bytes(marked(*first, (0, 0, 240, 0), (0, 0, 240, 1), (7, 8, 9, 0)))
    found = read_atis(path)
    assert found.t.tolist() == [50, 8000, 8192 + 100, 3 * 8192 + 7]
    assert (found.x.tolist(), found.y.tolist(), found.p.tolist()) == ([1, 3, 5, 8], [2, 4, 6, 9], [1, 0, 1, 0])
    assert not found.unordered


def test_a_simulated_sensor_of_256_rows_has_a_row_240(tmp_path):
    (tmp_path / "a.bin").write_bytes(marked((1, 1, 240, 1), (2, 2, 255, 0)))
    assert read_simulated(tmp_path / "a.bin").y.tolist() == [240, 255]


def aedat(*events: tuple[int, int], header: bytes = b"#!AER-DAT2.0\r\n") -> bytes:
    """An AER-DAT 2.0 file of (address, time)."""
    return header + np.array(events, dtype=np.uint32).reshape(-1, 2).astype(">u4").tobytes()


@pytest.mark.parametrize(
    "lines",
    [
        b"# User name: J\xf6rg\r\n",
        b"# caf\xe9 /home/\xff\r\n# AEChip: DVS128 \xe4\r\n",
        b"# \x00\x01 zero bytes\n",
        b"#\r\n#\n# ends so\r\n#End Of ASCII Header\r\n",
        b"# jap \x83\x6c\x83\x52\r\n" * 5,
    ],
)
@pytest.mark.parametrize("pad", range(9))
def test_a_header_may_hold_any_bytes_and_have_any_length(tmp_path, lines, pad):
    header = b"#!AER-DAT2.0\r\n# " + b"." * pad + b"\r\n" + lines
    (tmp_path / "a.aedat").write_bytes(aedat((0x1234, 5), (0x0102, 6), header=header))
    found = read_aedat(tmp_path / "a.aedat")
    assert found.t.tolist() == [5, 6]
    assert found.x.tolist() == [127 - 0x12, 127 - 0x01]


def test_the_header_ends_where_it_says_so(tmp_path):
    header = b"#!AER-DAT2.0\r\n#End Of ASCII Header\r\n"
    (tmp_path / "a.aedat").write_bytes(aedat((0x23000A0A, 1), (0x0102, 2), (0x0102, 3), header=header))
    found = read_aedat(tmp_path / "a.aedat")
    assert (found.t.tolist(), found.no_pixel) == ([2, 3], 1)


def test_a_header_that_does_not_end_and_a_recording_without_events_are_refused(tmp_path):
    path = tmp_path / "a.aedat"
    for content, said in (
        (b"#!AER-DAT2.0\r\n# cut he", "header does not end"),
        (b"#!AER-DAT2.0\r\n", "holds no events"),
        (aedat((0x8000, 1)), "holds no events of pixels"),
        (b"", "not an AER-DAT"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_aedat(path)
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(DataError, match="holds no events"):
        read_atis(tmp_path / "a.bin")


def test_events_of_no_pixel_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.aedat"
    events = [(0x0102, 1), (0x8000, 2), (0x8102, 3), (0x80000102, 4), (0xFFFF8001, 5), (0x0304, 6), (0x10304, 7)]
    path.write_bytes(aedat(*events, (0x0305, 8)))
    found = read_aedat(path)
    assert found.t.tolist() == [1, 6, 8]
    assert found.no_pixel == 5


def test_a_recording_of_another_chip_is_refused_by_its_name(tmp_path):
    header = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"
    events = [(y << 22 | x << 12 | 1 << 11, 10 * x) for x, y in ((200, 100), (10, 170), (77, 3))]
    (tmp_path / "a.aedat").write_bytes(aedat(*events, (1 << 31 | 5, 3), header=header))
    with pytest.raises(DataError, match=r"another chip .*DAVIS240C"):
        read_aedat(tmp_path / "a.aedat")


def test_a_clock_that_begins_anew_goes_on(tmp_path):
    path, top = tmp_path / "a.aedat", 1 << 32
    times = [top - 20, top - 10, 3, top - 5, 9]  # one event from before the end comes late
    path.write_bytes(aedat(*((number, t) for number, t in enumerate(times))))
    found = read_aedat(path)
    assert found.t.tolist() == [top - 20, top - 10, top - 5, top + 3, top + 9]
    assert (found.wrapped, found.unordered) == (True, True)
    top = 1 << 23
    (tmp_path / "a.bin").write_bytes(marked((top - 9, 1, 1, 1), (4, 2, 2, 1), (60, 3, 3, 0)))
    found = read_atis(tmp_path / "a.bin")
    assert found.t.tolist() == [top - 9, top + 4, top + 60]
    assert (found.wrapped, found.unordered) == (True, False)


def test_a_long_pause_is_no_new_beginning(tmp_path):
    (tmp_path / "a.bin").write_bytes(marked((0, 1, 1, 1), (8_000_000, 2, 2, 1)))
    assert read_atis(tmp_path / "a.bin").t.tolist() == [0, 8_000_000]
    (tmp_path / "a.bin").write_bytes(marked((0, 1, 1, 1), (8_000_000, 2, 2, 1), (5, 3, 3, 1)))
    assert read_atis(tmp_path / "a.bin").t.tolist() == [0, 8_000_000, (1 << 23) + 5]


def test_what_was_left_out_or_put_right_is_counted_over_all_recordings():
    late = aedat((1, 9), (2, 5), (0x8000, 6))
    frames = np.zeros((3, 1, 2, 8, 8), np.uint8)
    members = [("a", late), ("b", aedat((1, 1))), ("c", aedat((0x8000, 1), (5, (1 << 32) - 1), (6, 0)))]
    found = frame_all(members, frames, read_aedat, (128, 128), "number")
    assert found == {"events": 5, "no_pixel": 2, "unordered": 1, "wrapped": 1}


@given(st.binary(max_size=64), st.integers(0, 100), st.integers(0, 255))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_events_or_one_line(tmp_path_factory, content, at, value):
    path = tmp_path_factory.mktemp("any") / "a"
    whole = bytearray(aedat_file(1, 4))
    whole[at % len(whole)] = value
    for made in (content, b"#!AER-DAT2.0\r\n" + content, bytes(whole)):
        path.write_bytes(made)
        for parse in (read_aedat, read_atis, read_simulated):
            assert one_line(partial(parse, path)).startswith(str(path)) or len(parse(path)) <= len(made) // 5


def test_another_version_of_aedat_is_refused(tmp_path):
    (tmp_path / "a.aedat").write_bytes(aedat_file(0).replace(b"DAT2.0", b"DAT3.1"))
    with pytest.raises(DataError, match=r"not an AER-DAT 2\.0"):
        read_aedat(tmp_path / "a.aedat")


def test_events_out_of_order_are_put_in_order(tmp_path):
    t, x, y, p = random_events(0, 50, 128, 128)
    (tmp_path / "a.bin").write_bytes(atis_bytes(t[::-1], x[::-1], y[::-1], p[::-1]).tobytes())
    assert (np.diff(read_atis(tmp_path / "a.bin").t) >= 0).all()


@given(events, st.integers(1, 8), st.sampled_from(["number", "time"]))
@settings(deadline=None, max_examples=100)
def test_frames_are_those_of_spikingjelly(rows, frames, split_by):
    made = recording(rows)
    if not rows:
        assert not to_frames(made, (256, 256), frames, split_by, 256).any()
        return
    raw = {key: getattr(made, key) for key in ("t", "x", "y", "p")}
    ours = to_frames(made, (256, 256), frames, split_by, 256)
    assert ours.sum(dtype=np.int64) == len(rows)
    try:
        theirs = integrate_events_by_fixed_frames_number(raw, split_by, frames, 256, 256)
    except IndexError:  # an interval of time without an event
        return
    np.testing.assert_array_equal(ours, theirs)


def test_frames_of_equal_time_may_be_empty():
    made = recording([(0, 0, 0, 1), (10, 1, 0, 0), (1000, 1, 1, 1)])
    assert to_frames(made, (2, 2), 4, "time", 2).sum((1, 2, 3)).tolist() == [2, 0, 0, 1]


def test_a_larger_sensor_is_reduced_by_dividing_its_coordinates():
    made = Recording(*random_events(5, 4000, 128, 64))
    whole = to_frames(made, (64, 128), 3, "number", 64)  # 128 columns fall on 64, pair by pair
    small = to_frames(made, (64, 128), 3, "number", 16)
    np.testing.assert_array_equal(small, whole.reshape(3, 2, 16, 4, 16, 4).sum((3, 5)))
    assert small.shape == (3, 2, 16, 16)


def test_counts_stop_at_255_and_polarities_have_their_channels():
    made = recording([(t, 0, 0, 1) for t in range(300)] + [(t, 1, 0, 0) for t in range(7)])
    frame = to_frames(made, (2, 2), 1, "number", 2)[0]
    assert frame.dtype == np.uint8
    assert frame[1, 0, 0] == 255
    assert frame[0, 0, 1] == 7
    assert np.count_nonzero(frame) == 2


@pytest.mark.parametrize("beside", [(0, 34, 0, 0), (0, 0, 34, 0)])
def test_events_beside_the_sensor_are_refused(beside):
    with pytest.raises(DataError, match="beside a sensor of 34 rows and 34 columns, the first one with x="):
        to_frames(recording([beside]), (34, 34), 1, "number", 34)


@real
def test_real_n_mnist_recordings_show_three_saccades_on_a_34_pixel_sensor():
    paths = sorted((DATA / "nmnist").glob("*.bin"))
    assert len(paths) == 40
    rates = np.zeros(30)
    for path in paths:
        found = read_atis(path)
        assert len(found) == path.stat().st_size // 5 > 500
        assert (np.diff(found.t) >= 0).all()
        frames = to_frames(found, (34, 34), 30, "time", 34)
        assert frames.sum() == len(found)
        rates += frames.sum((1, 2, 3))
        assert abs(found.p.mean() - 0.5) < 0.1
    peaks = [int(part.argmax()) + start for start, part in zip((0, 10, 20), np.split(rates, 3), strict=True)]
    assert all(rates[peak] > 3 * min(rates[10], rates[20]) for peak in peaks)


@real
@pytest.mark.parametrize(("name", "count"), [("alex_walking_again", 19182), ("neal_walking", 70304)])
def test_real_dvs128_recordings_fill_a_128_pixel_sensor(name, count):
    found = read_aedat(DATA / "dvs128" / f"{name}.aedat")
    assert len(found) == count
    assert (np.diff(found.t) >= 0).all()
    assert 6e6 < found.t[-1] - found.t[0] < 10e6
    assert (found.x.max(), found.y.max(), set(found.p)) == (127, 127, {0, 1})
    assert to_frames(found, (128, 128), 10, "number", 32).shape == (10, 2, 32, 32)
