"""Event folders: any of the formats, in class folders or as gestures cut by csv, and what is wrong in one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.data.aedat3 import read_aedat3
from testbed.data.datasets import DatasetSpec, load
from testbed.data.framing import to_frames
from testbed.data.recordings import atis_bytes, read_atis
from tests.testbed.data.conftest import aedat_file, atis_file, one_line, random_events
from tests.testbed.data.test_aedat import HEADER_3, file_4, packet_3, packet_4

DATA = Path(os.environ.get("TESTBED_DATA", "nowhere")) / "events"
SENSOR = (128, 128)
STEP_US = 75_000


BACK = atis_bytes(*(np.array(one) for one in ([5, 4], [1, 2], [1, 2], [1, 1]))).tobytes()
"""Two events, the second one earlier."""


def spec(**keys: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {"name": "event_folder", "frames": 4, "sensor": list(SENSOR), "image_size": 16} | keys
    )


def contents(seed: int) -> dict[str, bytes]:
    """A recording in each format."""
    events = random_events(seed, 60, *SENSOR)
    return {
        f"{seed}.bin": atis_bytes(*events).tobytes(),
        f"{seed}-2.aedat": aedat_file(seed),
        f"{seed}-3.aedat": HEADER_3 + packet_3(*events),
        f"{seed}.aedat4": file_4(packet_4(*events, "lz4")),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("left", "right"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(2):
            for name, content in contents(2 * number + (label == "left")).items():
                (tmp_path / "set" / label / name).write_bytes(content)
    return tmp_path / "set"


def test_recordings_of_all_formats_lie_beside_one_another_in_class_folders(folder):
    found = load(spec(), folder)
    assert found.classes == ("left", "right")
    whole = np.concatenate([part.images for part in (found.train, found.validation, found.test)])
    assert whole.shape == (16, 4, 2, 16, 16)
    assert (whole.sum((1, 2, 3, 4)) == 60).all()
    one = to_frames(read_atis(folder / "left" / "1.bin"), SENSOR, 4, "number", 16)
    # The same events in three formats; those of AER-DAT 2.0 are turned as its sensor is.
    assert sum((image == one).all() for image in whole) >= 3
    assert "128 rows and 128 columns, coordinates divided to 16x16; 4 frames by number" in found.variant


def test_frames_of_equal_time_and_of_no_square_are_cut(folder):
    found = load(spec(split_by="time", image_size=[16, 32]), folder)
    assert found.train.images.shape[1:] == (4, 2, 16, 32)
    assert "divided to 16x32; 4 frames by time" in found.variant


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.bin", atis_file(1)[:-2], "cut short at byte 295"),
        ("a.aedat", aedat_file(1)[:-3], "cut short at byte "),
        ("a.aedat", b"nothing of the kind", "at byte 0 it begins with b'nothing of the k'"),
        ("a.aedat4", b"#!AER-DAT3.2\r\n", "at byte 0 it begins with b'#!AER-DAT3.2"),
        ("a.bin", atis_file(1, width=240), "at byte "),
        ("a.bin", BACK, "at byte 5 the time goes back"),
    ],
    ids=["cut", "cut 2.0", "magic", "version", "beside", "back"],
)
def test_a_malformed_recording_is_one_line_that_names_it_and_the_byte(folder, name, content, said):
    (folder / "right" / name).write_bytes(content)
    text = one_line(lambda: load(spec(), folder))
    assert text.startswith(f"{folder / 'right' / name}: ")
    assert said in text


def test_times_that_go_back_are_put_in_order_where_the_recipe_says_so(folder):
    (folder / "right" / "a.bin").write_bytes(BACK)
    assert "1 recordings with times out of order, put in order" in load(spec(unordered="sort"), folder).variant


def gestures(folder: Path) -> dict[str, np.ndarray]:
    """Two persons in DVS128 Gesture's layout; returns the events of each, 4 gestures of 75 ms after one another."""
    folder.mkdir()
    events = {}
    for number, name in enumerate(("user01_led", "user02_led")):
        events[name] = np.stack(random_events(number, 900, *SENSOR))
        (folder / f"{name}.aedat").write_bytes(HEADER_3 + packet_3(*events[name]))
        lines = [f"{label},{STEP_US * place},{STEP_US * (place + 1)}" for place, label in enumerate((1, 2, 1, 2))]
        (folder / f"{name}_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(lines) + "\n")
    (folder / "trials_to_train.txt").write_text("user01_led.aedat\n")
    (folder / "trials_to_test.txt").write_text("user02_led.aedat\n\n")
    (folder / "gesture_mapping.csv").write_text("action,label\nhand_clapping,1\nright_hand_wave,2\n")
    return events


GESTURES = {"layout": "dvs128_gesture", "sensor": None, "validation": 0.4}


def test_gestures_are_cut_as_their_csv_says_and_split_as_published(tmp_path):
    events = gestures(tmp_path / "dvs")
    found = load(spec(**GESTURES), tmp_path / "dvs")
    assert found.classes == ("hand_clapping", "right_hand_wave")
    assert found.test.labels.tolist() == [0, 1, 0, 1]
    t = events["user02_led"][0]
    expected = [((t >= STEP_US * place) & (t < STEP_US * (place + 1))).sum() for place in range(4)]
    assert found.test.images.sum((1, 2, 3, 4)).tolist() == expected
    recording = read_aedat3(tmp_path / "dvs" / "user02_led.aedat")
    assert len(recording) == 900
    assert "published train/test split" in found.variant


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("trials_to_train.txt", "user01_led.aedat\nuser03_led.aedat\n", r"trials_to_train.txt:2: "),
        ("user01_led_labels.csv", "class,start,end\n1,0,5\n2,9\n", "labels.csv:3: expected class,startTime_usec"),
        ("user01_led_labels.csv", "1,0,5\n0,5,9\n", "labels.csv:2: expected a class from 1"),
        ("user01_led_labels.csv", "1,9,5\n", "labels.csv:1: expected a class from 1 and an end after its start"),
        ("user01_led_labels.csv", "", "names no gesture"),
        ("user02_led_labels.csv", "1,900000,900001\n", "user02_led.aedat: no events from 900000 to 900001 µs, as "),
        ("gesture_mapping.csv", "action,label\nclap,one\n", "gesture_mapping.csv:2: expected action,label"),
        ("trials_to_test.txt", b"\xff\xfe", "is no text at byte 0"),
    ],
)
def test_a_list_that_does_not_fit_its_recordings_is_one_line_with_its_place(tmp_path, file, text, said):
    gestures(tmp_path / "dvs")
    path = tmp_path / "dvs" / file
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
    found = one_line(lambda: load(spec(**GESTURES), tmp_path / "dvs"))
    assert said in found
    assert found.startswith(str(tmp_path / "dvs"))


def test_a_file_of_the_layout_that_is_missing_is_named(tmp_path):
    gestures(tmp_path / "dvs")
    (tmp_path / "dvs" / "user01_led_labels.csv").unlink()
    found = one_line(lambda: load(spec(**GESTURES), tmp_path / "dvs"))
    assert found.startswith(f"{tmp_path / 'dvs' / 'user01_led_labels.csv'}: cannot be read: No such file")


@pytest.mark.skipif(not DATA.exists(), reason="needs the real recordings (TESTBED_DATA)")
def test_real_n_mnist_recordings_make_a_data_set(tmp_path):
    for number, path in enumerate(sorted((DATA / "nmnist").glob("*.bin"))):
        target = tmp_path / "real" / ("even", "odd")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    found = load(spec(sensor=[34, 34], image_size=34), tmp_path / "real")
    assert len(found.train) + len(found.validation) + len(found.test) == 40
    assert found.train.images.sum((1, 2, 3, 4)).min() > 500
