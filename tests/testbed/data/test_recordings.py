"""Recordings: parsed by SpikingJelly, checked by us, and cut into frames as SpikingJelly cuts them."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.datasets import integrate_events_by_fixed_frames_number

from testbed.data.recordings import Recording, atis_bytes, read_aedat, read_atis, to_frames
from testbed.errors import DataError
from tests.testbed.data.conftest import aedat_file, atis_file, random_events

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
    found = read_atis(path)
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
    with pytest.raises(DataError, match="beside a sensor of 34x34"):
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
