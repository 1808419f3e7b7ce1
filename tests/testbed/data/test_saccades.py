"""The simulated sensor: events where and when the log intensity changes, and nowhere else."""

import numpy as np
import pytest

from testbed.data.saccades import DARK, SACCADE_US, path, simulate
from testbed.data.spec import DvsSpec

EXACT = DvsSpec(threshold=0.2, threshold_sigma=0.0, refractory_us=0)


def disc(size: int = 24) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where(np.hypot(x, y) < size / 4, 220, 20).astype(np.uint8)


def test_the_sensor_returns_to_where_it_began_after_three_saccades():
    positions, times = path(3.0)
    np.testing.assert_allclose(positions[0], positions[-1])
    assert times[0] == 0
    assert times[-1] == 3 * SACCADE_US
    assert (np.diff(times) > 0).all()
    assert np.hypot(*np.diff(positions, axis=0).T).max() <= 0.25 + 1e-9
    assert positions.min() == -3.0


def test_saccades_are_fastest_in_their_middle_and_rest_between():
    positions, times = path(3.0)
    speed = np.hypot(*np.diff(positions, axis=0).T) / np.diff(times)
    middle = (times[1:] + times[:-1]) / 2
    phase = middle % SACCADE_US / SACCADE_US
    assert speed[np.abs(phase - 0.5) < 0.1].min() > 3 * speed[(phase < 0.12) | (phase > 0.88)].max()


def test_an_even_image_makes_no_events():
    assert len(simulate(np.full((2, 16, 16), 128, np.uint8), [1, 2], EXACT).t) == 0


def test_a_pixel_fires_once_for_every_threshold_that_log_intensity_crosses():
    # A brightness ramp moves along: over each saccade a pixel's log intensity goes from one end to the other.
    ramp = np.tile(np.arange(10, 250, 10, dtype=np.uint8), (24, 1))
    events = simulate(ramp[None], [0], EXACT)
    inside = (events.x == 12) & (events.y == 12)
    positions, _ = path(EXACT.saccade_pixels)
    seen = np.log((10 + 10 * (12 + positions[:, 0])) / 255 + DARK)
    crossings = np.abs(np.diff(seen)).sum() / EXACT.threshold
    assert abs(inside.sum() - crossings) <= 3  # each turn of the path may cost a part of a threshold
    # To the right it brightens: the sensor goes right in the first two saccades and back in the third.
    assert (events.p[inside] == (events.t[inside] < 2 * SACCADE_US)).all()


def test_on_and_off_follow_the_edge():
    events = simulate(disc()[None], [0], EXACT)
    assert 0.4 < events.p.mean() < 0.6
    reach = np.hypot(events.x - 11.5, events.y - 11.5)
    assert reach.max() < 24 / 4 + 3 * np.sqrt(2) + 1.5
    assert reach.min() > 24 / 4 - 3 * np.sqrt(2) - 1.5


def test_a_higher_threshold_and_a_longer_refractory_period_make_fewer_events():
    image = disc()[None]
    counts = [len(simulate(image, [0], EXACT.model_copy(update={"threshold": t})).t) for t in (0.1, 0.2, 0.4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1.5 * counts[1]
    long = simulate(image, [0], EXACT.model_copy(update={"refractory_us": 5000}))
    assert len(long.t) < counts[1]
    for pixel in np.unique(long.y.astype(int) * 24 + long.x):
        times = long.t[long.y.astype(int) * 24 + long.x == pixel]
        assert (np.diff(times) >= 5000 - 1).all()


def test_an_image_has_the_same_events_in_any_company():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 12, 12), dtype=np.uint8)
    together, alone = simulate(images, [5, 6, 7], DvsSpec()), simulate(images[1:2], [6], DvsSpec())
    mine = together.recording == 1
    for key in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(together, key)[mine], getattr(alone, key))
    assert (np.diff(together.recording) >= 0).all()
    assert all((np.diff(together.t[together.recording == k]) >= 0).all() for k in range(3))


def test_the_seeds_decide_the_noise():
    image = disc()[None]
    base = simulate(image, [1], DvsSpec())
    assert not np.array_equal(simulate(image, [2], DvsSpec()).t, base.t)
    assert not np.array_equal(simulate(image, [1], DvsSpec(seed=1)).t, base.t)


def test_events_of_a_known_image_are_what_they_were():
    """Where this fails by a change of the model, raise MODEL_VERSION: prepared recordings are kept by it."""
    events = simulate(disc()[None], [0], DvsSpec())
    assert len(events.t) == pytest.approx(3962, rel=0.002)
    assert events.t.mean() == pytest.approx(137_481, rel=0.002)
