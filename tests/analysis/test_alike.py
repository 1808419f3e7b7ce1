"""Each repeat counts alike, and in it each sample, however often it was asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.alike import Alike
from analysis.metrics import accuracy, code_bits, latency, mean_exit, op_count, stages, traffic
from analysis.metrics.registry import measure
from analysis.replay import replay
from tests.analysis.measuring import value
from tests.made import records

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}
# Each repeat asks for other samples, as campaigns with fewer requests than samples do.
ONCE = [range(0, 20), range(10, 30), range(20, 40)]
MORE_PASSES = [[*range(0, 20)] * 3, range(10, 30), range(20, 40)]
SOME_TWICE = [[*range(0, 20), *range(0, 5)], range(10, 30), [*range(20, 40), *range(30, 40)]]


def rows(*asked):
    repeats = np.repeat(np.arange(len(asked)), [len(each) for each in asked])
    return pd.DataFrame({"repeat": repeats, "sample_index": np.concatenate([list(each) for each in asked])})


@pytest.mark.parametrize("asked", [MORE_PASSES, SOME_TWICE], ids=["a repeat of three passes", "some samples twice"])
def test_two_cells_with_one_network_and_the_same_samples_have_the_same_accuracy_to_the_digit(make_cell, asked) -> None:
    once, more = make_cell("once", asked=ONCE, wrong=7), make_cell("more", asked=asked, wrong=7)
    assert len(more.requests) > len(once.requests)
    right = once.requests["prediction"] == once.requests["label"]
    again = more.requests["prediction"] == more.requests["label"]
    assert right.mean() != again.mean()  # so pooled requests would tell them apart
    assert value(accuracy.METRIC, more).fraction == value(accuracy.METRIC, once).fraction
    assert value(accuracy.METRIC, more).per_repeat == value(accuracy.METRIC, once).per_repeat


@pytest.mark.parametrize("asked", [MORE_PASSES, SOME_TWICE], ids=["a repeat of three passes", "some samples twice"])
def test_bytes_exits_stages_and_counts_do_not_depend_on_the_passes(make_cell, asked) -> None:
    counts = records.op_counts(*[records.op_cost([1e6, 2e6, 4e6, 8e6], [0.0] * 4)] * 3)
    cells = [
        make_cell(name, asked=samples, rule=RULE, op_counts=counts, code_rates=[[0.1 * t] * 16 for t in range(4)])
        for name, samples in (("once", ONCE), ("more", asked))
    ]
    once, more = ([value(each.METRIC, cell) for each in (mean_exit, traffic, code_bits, op_count)] for cell in cells)
    assert cells[0].requests["exit_timestep"].mean() != cells[1].requests["exit_timestep"].mean()
    assert more[0] == pytest.approx(once[0])
    assert more[1].payload_up_bytes == pytest.approx(once[1].payload_up_bytes)
    assert more[1].wire_up_bytes == pytest.approx(once[1].wire_up_bytes)
    assert (more[2].sent, more[2].entropy) == pytest.approx((once[2].sent, once[2].entropy))
    assert more[3].compute_mj == pytest.approx(once[3].compute_mj)
    assert value(stages.METRIC, cells[1]) == pytest.approx(value(stages.METRIC, cells[0]))


def test_a_replay_counts_as_the_metrics_do(make_cell) -> None:
    found = replay(make_cell("full", asked=MORE_PASSES), "max_softmax", "mean", [0.8])
    exited = make_cell("exit", asked=ONCE, rule=RULE)
    assert found["accuracy"][0] == value(accuracy.METRIC, exited).fraction
    assert found["mean_exit_timestep"][0] == pytest.approx(value(mean_exit.METRIC, exited))


def test_a_request_that_failed_in_one_of_two_passes_costs_half_of_its_sample() -> None:
    alike = Alike(rows([0, 1, 0, 1], [0, 1]))
    assert alike.per_repeat([True, True, False, True, True, True]) == {0: 0.75, 1: 1.0}
    assert alike.mean([True, True, False, True, True, True]) == 0.875


def test_percentiles_of_rows_that_weigh_alike_are_numpys() -> None:
    rng = np.random.default_rng(2)
    asked = [rng.permutation(200)[:121] for _ in range(3)]
    took = rng.exponential(10, 3 * 121)
    found = Alike(rows(*asked)).percentiles(took, [0, 1, 50, 95, 99, 100])
    assert found == pytest.approx(np.percentile(took, [0, 1, 50, 95, 99, 100]), rel=1e-12)
    each = Alike(rows(*asked)).percentiles_per_repeat(took, 95)
    assert each == pytest.approx({n: np.percentile(took[121 * n :][:121], 95) for n in range(3)}, rel=1e-12)


def test_a_slow_repeat_of_many_passes_does_not_pull_the_median_to_itself() -> None:
    # A repeat at 10 ms in one pass, one at 30 ms in five: half of the weight lies at either.
    alike = Alike(rows(range(20), [*range(20)] * 5))
    took = np.array([10.0] * 20 + [30.0] * 100)
    assert np.median(took) == 30
    assert alike.percentiles(took, [45, 55]) == [10, 30]


def test_one_request_is_its_own_percentile() -> None:
    assert Alike(rows([3])).percentiles([7.0], [50, 95]) == [7, 7]


def test_the_latency_of_a_campaign_is_measured_so(make_cell) -> None:
    (one,) = measure([make_cell("more", asked=MORE_PASSES, latency_ms=20)])
    found = one.get(latency.METRIC)
    assert found.p50_ms == pytest.approx(21)
    assert found.p50_per_repeat_ms == pytest.approx({0: 21, 1: 21, 2: 21})
