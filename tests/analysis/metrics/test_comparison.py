"""Drop, speed-up and saving against the baseline, with intervals that are paired within repeats."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from scipy.stats import sem, t

from analysis.metrics import accuracy, accuracy_drop, energy, energy_saving, latency, latency_speedup
from analysis.metrics.comparison import paired
from analysis.metrics.registry import measure
from analysis.publish import publish
from analysis.summary import write_summary

ASKED = [range(0, 20), range(10, 30), range(20, 40)]


def half(values) -> float:
    return t.ppf(0.975, len(values) - 1) * sem(values)


def test_the_interval_is_students_over_the_repeats_own_comparisons() -> None:
    found = paired(2.0, {0: 4.0, 1: 5.0, 2: 5.0}, {0: 8.0, 1: 11.0, 2: 9.0}, lambda mine, theirs: theirs / mine)
    expected = half([8 / 4, 11 / 5, 9 / 5])
    assert (found.low, found.high) == pytest.approx((2.0 - expected, 2.0 + expected))


def test_what_both_cells_share_in_a_repeat_cancels() -> None:
    # Whatever slows a repeat slows both alike.
    slowed = {0: 1.0, 1: 3.0, 2: 10.0}
    found = paired(2.0, slowed, {n: 2 * each for n, each in slowed.items()}, lambda mine, theirs: theirs / mine)
    assert found.low == found.high == pytest.approx(2.0)


def test_only_repeats_that_both_have_are_paired_and_one_gives_no_interval() -> None:
    found = paired(1.0, {0: 1.0, 1: 2.0}, {1: 3.0, 2: 4.0}, lambda mine, theirs: theirs - mine)
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert paired(1.0, {0: 1.0}, {1: 1.0}, lambda mine, theirs: theirs - mine).low is None


def test_a_campaigns_intervals_are_those_by_hand(make_cell) -> None:
    base, co = measure(
        [
            make_cell("base", "edge_only", baseline=True, latency_ms=80, jitter_mw=200, asked=ASKED),
            make_cell("co", latency_ms=20, busy_mw=4000, jitter_mw=300, wrong=14, asked=ASKED),
        ]
    )
    shares = [one.get(accuracy.METRIC).per_repeat for one in (base, co)]
    drop = co.get(accuracy_drop.METRIC)
    assert drop.high - drop.value == pytest.approx(half([100 * (shares[0][n] - shares[1][n]) for n in range(3)]))
    assert drop.value - drop.low == pytest.approx(drop.high - drop.value)
    assert drop.high > drop.low
    drawn = [one.get(energy.METRIC).per_repeat_mj for one in (base, co)]
    saving = co.get(energy_saving.METRIC)
    spread = half([100 * (1 - drawn[1][n] / drawn[0][n]) for n in range(3)])
    assert spread < saving.high - saving.value == pytest.approx(spread, rel=0.01)  # and a little at the windows' edges
    assert saving.low < saving.value < saving.high
    medians = [one.get(latency.METRIC).p50_per_repeat_ms for one in (base, co)]
    speedup = co.get(latency_speedup.METRIC)
    assert speedup.high - speedup.value == pytest.approx(half([medians[0][n] / medians[1][n] for n in range(3)]))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"gain": 0.05}, 0.0),  # is in both, and cancels
        # Of 4 W at half the time of 6 W: the offset's share of the cell's energy, less that of the baseline's.
        ({"offset_mw": 100.0}, 1.96 * 100 / 3**0.5 * (21 / 81 / 6000 - 4000 * 21 / 81 / 6000**2) * 100),
    ],
    ids=["gain", "offset"],
)
def test_a_saving_is_unsure_by_what_of_a_sensors_error_does_not_cancel(make_cell, limits, expected) -> None:
    base, co = measure(
        [
            make_cell("base", "edge_only", baseline=True, latency_ms=80, emulated=False, limits=limits),
            make_cell("co", latency_ms=20, busy_mw=4000, emulated=False, limits=limits),
        ]
    )
    saving = co.get(energy_saving.METRIC)
    assert saving.half == pytest.approx(expected, abs=0.02)
    assert base.get(energy_saving.METRIC).half == 0


def test_a_drop_of_repeats_that_agree_is_as_unsure_as_its_samples_make_it(make_cell) -> None:
    base, co = measure([make_cell("base", "edge_only", baseline=True), make_cell("co", wrong=6)])
    right, lost = (one.get(accuracy.METRIC).per_sample for one in (base, co))
    drop = co.get(accuracy_drop.METRIC)
    first = slice(0, 40)  # each repeat asks for the same 40
    assert drop.half == pytest.approx(half(100 * (right.values[first] - lost.values[first])))
    assert drop.half > 0


def test_a_single_repeat_has_comparisons_without_intervals(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("base", "edge_only", baseline=True, repeats=1), make_cell("co", repeats=1)]
    with write_summary(tmp_path, measure(cells)).open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in ("accuracy_drop_points", "latency_speedup", "energy_saving_pct"):
            assert row[name]
            assert row[f"{name}_lo"] == row[f"{name}_hi"] == ""


def test_the_report_tells_the_ends_of_an_interval(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("base", "edge_only", baseline=True, latency_ms=80, jitter_mw=30), make_cell("co", jitter_mw=30)]
    said = " ".join(re.sub("<[^>]+>", " ", publish(tmp_path, cells).report.read_text()).split())
    assert "speed-up, with interval 3.86× (3.86× to 3.86×)" in said
    assert "saving (emulated), with interval" in said
