"""Data sets of simulated events: written in the N-MNIST format, read back by the same parser, and called simulated."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from testbed.data import simulated
from testbed.data.datasets import DatasetSpec, load
from testbed.data.framing import to_frames
from testbed.data.recordings import read_atis


def spec(**more) -> DatasetSpec:
    return DatasetSpec(**{"name": "image_folder_dvs", "image_size": 16, "validation": 0.2, "frames": 5, **more})


def test_images_become_frames_of_events(folder):
    pets = load(spec(), folder)
    assert not pets.static
    assert pets.train.images.shape == (17, 5, 2, 16, 16)
    assert pets.train.images.dtype == np.uint8
    assert pets.train.images.any(axis=(1, 2, 3, 4)).all()


def test_the_words_simulated_events_are_in_name_and_variant(folder):
    for title in (None, "Pets", "Pets, simulated events"):
        pets = load(spec(title=title), folder)
        assert pets.name.count("simulated events") == 1
        assert "simulated events" in pets.variant
    assert "seed 3" in load(spec(dvs={"seed": 3}, max_per_class=4), folder).variant


def test_recordings_lie_in_the_published_format_and_frames_are_theirs(folder, cache, tmp_path):
    pets = load(spec(split_by="time"), folder)
    (path,) = cache.glob("recordings-*/recordings.zip")
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 29
        (tmp_path / "one.bin").write_bytes(archive.read("test/dog/3.png.bin"))
    recording = read_atis(tmp_path / "one.bin")
    assert recording.t.max() < 300_000
    np.testing.assert_array_equal(to_frames(recording, (16, 16), 5, "time", 16), pets.test.images[-1])


def test_other_frames_are_cut_from_the_same_recordings(folder, monkeypatch):
    load(spec(), folder)
    monkeypatch.setattr(simulated, "simulate", lambda *_: pytest.fail("simulated again"))
    assert load(spec(frames=3, split_by="time"), folder).train.images.shape[1] == 3


def test_an_image_has_the_same_events_in_a_quick_run(folder):
    whole, few = load(spec(), folder), load(spec(max_per_class=4), folder)
    everything = {frames.tobytes() for frames in whole.train.images} | {f.tobytes() for f in whole.validation.images}
    assert {frames.tobytes() for frames in few.train.images} <= everything


def test_the_seed_of_the_sensor_changes_events_and_no_split(folder):
    a, b = load(spec(), folder), load(spec(dvs={"seed": 1}), folder)
    np.testing.assert_array_equal(a.train.labels, b.train.labels)
    assert not np.array_equal(a.train.images, b.train.images)


def test_digits_become_events():
    digits = load(DatasetSpec(name="digits_dvs", frames=4, image_size=16, max_per_class=10))
    assert digits.train.images.shape == (70, 4, 2, 16, 16)
    assert "simulated events" in digits.name
    assert digits.classes == tuple("0123456789")


@pytest.mark.skipif("TESTBED_DATA" not in os.environ, reason="needs the CIFAR-10 images (TESTBED_DATA)")
def test_simulated_recordings_are_as_busy_as_real_ones():
    path = Path(os.environ["TESTBED_DATA"]) / "cifar10-jpeg.zip"
    images = load(spec(image_size=32, max_per_class=4, frames=10), path)
    events = images.train.images.sum(axis=(1, 2, 3, 4), dtype=np.int64)
    assert 2000 < np.median(events) < 20_000  # N-MNIST has some 4,000 on a sensor of that size
