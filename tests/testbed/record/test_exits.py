"""The exit rule: thresholds per timestep, and what sums do that means do not."""

import numpy as np
import pytest

from devices.base.errors import TestbedError
from devices.base.plugins import use_files
from testbed.record.exits import accumulate, confidence, exit_timestep

SURE = np.array([[0.5, 0.95, 0.2, 0.7], [0.9, 0.1, 0.6, 0.7], [0.3, 0.3, 0.3, 0.3]])


def test_each_timestep_but_the_last_has_its_own_threshold():
    assert exit_timestep(SURE, [0.9, 0.65]).tolist() == [2, 1, 3, 2]
    assert exit_timestep(SURE, [0.7, 0.0]).tolist() == [2, 1, 2, 1]


def test_equal_thresholds_are_one_threshold():
    for alpha in (0.0, 0.3, 0.6, 0.9, 1.0):
        assert exit_timestep(SURE, [alpha, alpha]).tolist() == exit_timestep(SURE, alpha).tolist()


def test_a_single_timestep_is_the_last():
    assert exit_timestep(SURE[:1], 0.9).tolist() == [1, 1, 1, 1]
    assert exit_timestep(SURE[:1], []).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("thresholds", [[0.9], [0.9, 0.8, 0.7]])
def test_thresholds_that_are_not_one_for_each_but_the_last_are_refused(thresholds):
    with pytest.raises(ValueError, match=r"exit thresholds for a model of T=3 timesteps; give 2"):
        exit_timestep(SURE, thresholds)


@pytest.mark.parametrize("policy", ["max_softmax", "entropy", "margin"])
def test_sums_sharpen_with_t_and_means_do_not(policy):
    """The same logits at every timestep tell nothing new: only a sum grows surer of them."""
    logits = np.tile(np.array([1.0, 0.5, 0.0]), (6, 1))
    means = confidence(accumulate(logits, "mean"), policy)
    sums = confidence(accumulate(logits, "sum"), policy)
    assert means == pytest.approx(np.full(6, means[0]))
    assert (np.diff(sums) > 0.01).all()
    assert sums[0] == pytest.approx(means[0])
    assert sums[3] == pytest.approx(confidence(4 * logits[0], policy))
    assert exit_timestep(means, 0.6) == 6
    assert exit_timestep(sums, 0.6) < 6


def test_sums_and_means_give_the_same_answers():
    logits = np.random.default_rng(0).normal(size=(5, 200, 10))
    assert (accumulate(logits, "sum").argmax(-1) == accumulate(logits, "mean").argmax(-1)).all()


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 101])
def test_a_flat_output_has_an_entropy_confidence_of_zero_and_not_less(classes):
    assert 0.0 <= confidence(np.full(classes, 0.1), "entropy") < 1e-9


@pytest.fixture
def policy_file(tmp_path):
    """Uses a policy `mine` that gives what this text says."""

    def use(gives):
        adds = 'ADDS = {"exit_policies": {"mine": mine}}\n'
        text = f"import numpy as np\n\ndef mine(logits):\n    return {gives}\n\n{adds}"
        (tmp_path / "lab.py").write_text(text)
        use_files([tmp_path / "lab.py"])

    yield use
    use_files([])


def test_a_policy_of_a_file_is_asked_for_one_sample_and_for_many(policy_file):
    policy_file("1 / (1 + np.exp(-logits.max(axis=-1)))")
    one = confidence(np.array([0.0, 2.0, 1.0], dtype=np.float32), "mine")
    assert one == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert confidence(np.zeros((4, 7, 3)), "mine") == pytest.approx(np.full((4, 7), 0.5))


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("logits.max(axis=-1)", "gave 2 for logits"),
        ("np.nan * logits.sum(axis=-1)", "gave nan for logits"),
        ("logits.missing()", "failed: AttributeError: 'numpy.ndarray' object has no attribute 'missing'"),
        ("0 * logits", r"gave an array \[1, 2\] for logits \[1, 2\]: expected \[1\] numbers from 0 to 1"),
    ],
)
def test_a_policy_that_gives_no_confidence_is_named_with_its_place(policy_file, gives, said):
    policy_file(gives)
    with pytest.raises(TestbedError, match=rf"lab\.py:6: the plug-in 'mine' of testbed\.exit_policies {said}"):
        confidence(np.array([[0.0, 2.0]]), "mine")


def test_a_policy_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(TestbedError, match="no exit policy is named 'duel'; there is max_softmax, entropy, margin"):
        confidence(np.zeros(3), "duel")
