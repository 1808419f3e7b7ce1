"""Thresholds that keep an allowance, and are as early as a search over all of them finds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.record.exits import accumulate, confidence, exit_timestep
from testbed.snn.thresholds import paired_drop, per_timestep_thresholds, single_threshold

SEARCHES = (single_threshold, per_timestep_thresholds)


def made(samples: int, timesteps: int, seed: int, classes: int = 5):
    """Confidences and right answers [T, N] of noisy logits: some samples are easy, and more timesteps help."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    evidence = np.eye(classes)[labels] * 3 / rng.gamma(2, 1, (samples, 1))
    running = accumulate(evidence + rng.normal(0, 2, (timesteps, samples, classes)))
    return confidence(running), running.argmax(-1) == labels


def effect(sure, right, thresholds) -> tuple[int, int]:
    """Sum of the exit timesteps, and right answers lost against all timesteps."""
    exits = exit_timestep(sure, thresholds)
    answers = right[exits - 1, np.arange(right.shape[1])]
    return int(exits.sum()), int(right[-1].sum()) - int(answers.sum())


# Few values, so that ties, confidences of 0 and 1, and gaps of nothing occur.
coarse = st.sampled_from([0.0, 0.2, 0.2000001, 0.5, 0.9, 1.0])


@st.composite
def outcomes(draw):
    timesteps, samples = draw(st.integers(2, 4)), draw(st.integers(1, 8))
    sure = draw(st.lists(coarse, min_size=timesteps * samples, max_size=timesteps * samples))
    right = draw(st.lists(st.booleans(), min_size=timesteps * samples, max_size=timesteps * samples))
    return np.reshape(sure, (timesteps, samples)), np.reshape(right, (timesteps, samples))


def every_threshold(sure) -> list[list[float]]:
    return [sorted({*row.tolist(), 1.0}) for row in sure[:-1]]


@settings(deadline=None)
@given(outcomes(), st.integers(0, 4))
def test_the_single_threshold_is_the_best_there_is(case, losses):
    sure, right = case
    values = sorted({value for row in every_threshold(sure) for value in row})
    tried = [effect(sure, right, value) for value in values]
    feasible = [exits for exits, lost in tried if lost <= losses]
    found = single_threshold(sure, right, losses)
    if found is None:
        assert not feasible
    else:
        assert len(set(found)) == 1
        exits, lost = effect(sure, right, found)
        assert lost <= losses
        assert exits == min(feasible)


@settings(deadline=None)
@given(outcomes(), st.integers(0, 4))
def test_thresholds_keep_the_allowance_and_a_larger_one_is_never_later(case, losses):
    sure, right = case
    for search in SEARCHES:
        strict, loose = (search(sure, right, allowed) for allowed in (losses, losses + 1))
        if strict is None:
            continue
        assert loose is not None
        assert all(0 <= value <= 1 for value in strict)
        assert effect(sure, right, strict)[1] <= losses
        assert effect(sure, right, loose)[0] <= effect(sure, right, strict)[0]


@settings(deadline=None)
@given(outcomes(), st.integers(0, 4))
def test_a_threshold_per_timestep_is_never_later_than_one_for_all(case, losses):
    sure, right = case
    single, each = (search(sure, right, losses) for search in SEARCHES)
    if single is not None:
        assert each is not None
        assert effect(sure, right, each)[0] <= effect(sure, right, single)[0]


def test_a_threshold_per_timestep_is_earlier_where_later_confidences_are_lower():
    """Right answers come at 0.9, then at 0.5; wrong ones at 0.8, then at 0.4: no one threshold parts both."""
    sure = np.array([[0.9, 0.8, 0.8], [0.9, 0.5, 0.4], [0.9, 0.9, 0.9]])
    right = np.array([[True, False, False], [True, True, False], [True, True, True]])
    assert effect(sure, right, single_threshold(sure, right, 0))[0] == 1 + 3 + 3
    assert effect(sure, right, per_timestep_thresholds(sure, right, 0)) == (1 + 2 + 3, 0)


def test_the_search_per_timestep_mostly_finds_the_best_of_all_combinations():
    gaps = []
    for seed in range(25):
        sure, right = made(24, 3, seed)
        combinations = [effect(sure, right, list(pair)) for pair in itertools.product(*every_threshold(sure))]
        best = min(exits for exits, lost in combinations if lost <= 1)
        gaps.append(effect(sure, right, per_timestep_thresholds(sure, right, 1))[0] - best)
    assert min(gaps) == 0  # nothing is better than the best: the brute force saw every combination
    assert sum(gap == 0 for gap in gaps) >= 20
    assert np.mean(gaps) / 24 < 0.05


def test_ten_timesteps_of_a_thousand_samples_gain_from_a_threshold_each():
    sure, right = made(1000, 10, 0)
    single, each = (effect(sure, right, search(sure, right, 10)) for search in SEARCHES)
    assert single[1] <= 10
    assert each[1] <= 10
    assert each[0] < 0.9 * single[0]


@pytest.mark.parametrize("seed", [4, 38])
def test_a_larger_allowance_is_never_later_where_the_single_threshold_leads_astray(seed):
    """Seeds where the search from the single threshold alone ends later for a larger allowance."""
    sure, right = made(100, 4, seed)
    exits = [effect(sure, right, per_timestep_thresholds(sure, right, losses))[0] for losses in range(4)]
    assert exits == sorted(exits, reverse=True)


def test_values_a_hair_apart_are_parted():
    sure = np.array([[0.2, 0.2000001], [0.9, 0.9]])
    right = np.array([[False, True], [True, True]])
    for search in SEARCHES:
        (alpha,) = search(sure, right, 0)
        assert 0.2 < alpha <= 0.2000001


def test_a_timestep_at_which_nobody_arrives_has_the_highest_threshold():
    sure = np.array([[0.7, 0.8], [0.9, 0.9], [0.9, 0.9]])
    thresholds = per_timestep_thresholds(sure, np.ones((3, 2), dtype=bool), 0)
    assert effect(sure, np.ones((3, 2), dtype=bool), thresholds)[0] == 2
    assert thresholds[1] == 1.0


def test_thresholds_are_short_numbers_between_the_values_they_part():
    sure = np.array([[0.8731, 0.8764], [0.9, 0.9]])
    right = np.array([[False, True], [True, True]])
    for search in SEARCHES:
        assert search(sure, right, 0) == [0.875]


def test_a_threshold_that_nobody_may_reach_is_the_highest():
    sure = np.array([[0.7, 0.8], [0.9, 0.9]])
    right = np.array([[False, False], [True, True]])
    for search in SEARCHES:
        assert search(sure, right, 0) == [1.0]


def test_wrong_answers_at_a_confidence_of_one_cannot_be_kept_back():
    sure = np.array([[1.0, 0.8], [1.0, 0.9]])
    right = np.array([[False, True], [True, True]])
    for search in SEARCHES:
        assert search(sure, right, 0) is None
        assert effect(sure, right, search(sure, right, 1)) == (2, 1)


def test_a_drop_is_of_the_same_samples_and_signed():
    before = np.array([True, True, True, False, True])
    after = np.array([True, False, False, True, True])
    assert paired_drop(before, after).points == pytest.approx(20)
    assert paired_drop(after, before).points == pytest.approx(-20)
    assert paired_drop(before, before).points == 0
    assert paired_drop(before, before).low < 0 < paired_drop(before, before).high


def test_the_interval_of_a_drop_is_the_published_formula():
    """Bonett and Price 2012 with 12 lost, 3 gained of 100: (13 - 4)/102 ± 1.96 sqrt((17/102 - (9/102)²)/102)."""
    before = np.array([True] * 92 + [False] * 8)
    after = np.array([True] * 80 + [False] * 12 + [True] * 3 + [False] * 5)
    drop = paired_drop(before, after)
    assert drop.points == pytest.approx(9)
    assert (drop.low, drop.high) == pytest.approx((1.0881, 16.5590), abs=1e-4)


@pytest.mark.parametrize(("lost", "gained"), [(0.01, 0.01), (0.05, 0.02), (0.3, 0.1)])
def test_at_least_95_of_100_intervals_hold_the_true_drop(lost, gained):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(800):
        kind = rng.choice(3, size=200, p=[lost, gained, 1 - lost - gained])
        drop = paired_drop(kind != 1, kind != 0)
        held += drop.low <= 100 * (lost - gained) <= drop.high
    assert held / 800 >= 0.935  # 95%, less two standard deviations of 800 trials; cautious where few answers change
