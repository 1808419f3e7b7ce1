from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis.metrics import (
    accuracy,
    accuracy_drop,
    energy,
    energy_saving,
    latency,
    latency_speedup,
    reduction,
    stages,
    traffic,
    waste,
)
from analysis.metrics.registry import measure
from testbed.record.reader import Cell, read_cell
from tests.analysis.measuring import value


def test_drop_speedup_and_saving_match_those_by_hand(make_cell) -> None:
    base = make_cell("base", "edge_only", baseline=True, latency_ms=80, busy_mw=6000)
    co = make_cell("co", latency_ms=20, busy_mw=3000, wrong=4)
    right = value(accuracy.METRIC, base).fraction
    lost = value(accuracy.METRIC, co).fraction
    found = measure([base, co])[1]
    assert right > lost
    assert found.get(accuracy_drop.METRIC).value == pytest.approx(100 * (right - lost))
    assert found.get(latency_speedup.METRIC).value == pytest.approx(81 / 21)
    took = [np.mean([ms + i % 3 for i in range(40)]) for ms in (80, 20)]
    assert found.get(energy_saving.METRIC).value == pytest.approx(100 * (1 - 3000 * took[1] / (6000 * took[0])))


def test_without_a_baseline_there_is_no_comparison(make_cell) -> None:
    (alone,) = measure([make_cell("alone")])
    assert alone.baseline is None
    assert all(alone.get(one.METRIC) is None for one in (accuracy_drop, latency_speedup, energy_saving))


@pytest.mark.parametrize(("block", "key", "other"), [("dataset", "name", "cifar10"), ("model", "weights", "int8")])
def test_a_baseline_of_another_data_set_or_form_is_not_compared_with(make_cell, block, key, other) -> None:
    base = make_cell("base", "edge_only", baseline=True)
    path = base.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest[block][key] = other
    path.write_text(json.dumps(manifest))
    assert measure([read_cell(base.folder), make_cell("co")])[1].baseline is None


def of(cell: Cell, **model: Any) -> Cell:
    """The cell with another model, of the form that its manifest would say."""
    path = cell.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"] |= model
    path.write_text(json.dumps(manifest))
    return read_cell(cell.folder)


def test_an_ann_is_compared_with_the_spiking_baseline_whose_form_is_nearest_and_never_the_other_way(make_cell) -> None:
    ann = of(make_cell("ann", "edge_only", baseline=True, latency_ms=5), spiking=False, weights="int8")
    exact = make_cell("float", "edge_only", baseline=True, latency_ms=80)
    eight = of(make_cell("int8", "edge_only", baseline=True, latency_ms=60), weights="int8")
    split = make_cell("co", latency_ms=20)

    def compared(*cells: Cell) -> list[str]:
        return [one.baseline.label for one in measure(list(cells)) if one.baseline]

    assert compared(ann, exact, split) == ["float", "float", "float"]
    assert compared(ann, exact, eight, split) == ["int8", "float", "int8", "float"]
    assert compared(ann, split) == ["ann"]  # nothing else to compare an ANN with, and no spiking cell with one
    found = measure([ann, exact])[0]
    assert found.get(latency_speedup.METRIC).value == pytest.approx(81 / 6)


def test_a_measured_energy_is_not_compared_with_an_emulated_one(make_cell) -> None:
    base = make_cell("base", "edge_only", baseline=True, emulated=True)
    found = measure([base, make_cell("co", emulated=False)])[1]
    assert found.get(latency_speedup.METRIC) is not None
    assert found.get(energy_saving.METRIC) is None


def test_a_request_that_was_not_answered_counts_as_wrong(make_cell) -> None:
    all_ok = value(accuracy.METRIC, make_cell("fine"))
    some = value(accuracy.METRIC, make_cell("lossy", outcomes={0: "timeout", 1: "error"}))
    assert some.not_ok == 6
    assert some.fraction <= all_ok.fraction
    right = make_cell("lossy again", outcomes=dict.fromkeys(range(39), "timeout"))
    assert value(accuracy.METRIC, right).fraction <= 1 / 40


def test_latency_leaves_out_requests_that_were_not_answered(make_cell) -> None:
    # Latencies cycle through 20, 21, 22 ms; only those of 20 ms are left.
    cell = make_cell("few", outcomes={i: "timeout" for i in range(40) if i % 3})
    assert value(latency.METRIC, cell).p99_ms == 20


def test_percentiles_pool_the_repeats(make_cell) -> None:
    found = value(latency.METRIC, make_cell("pooled", latency_ms=20))
    assert found.p50_ms == 21
    assert found.p50.half == 0
    assert found.p95_ms == 22


def test_stages_add_up_to_the_latency(make_cell) -> None:
    found = value(stages.METRIC, make_cell("stages", latency_ms=20))
    mean = np.mean([20 + i % 3 for i in range(40)])
    assert found["edge_compute"] == pytest.approx(0.4 * mean)
    assert found["rest"] == pytest.approx(0.1 * mean)
    assert sum(found.values()) == pytest.approx(mean)


def streamed(cell, **columns: float):
    """The cell with these numbers in every request."""
    for name, number in columns.items():
        cell.requests[name] = number
    return cell


def test_stages_add_up_where_the_edge_works_while_answers_are_under_way(make_cell) -> None:
    mean = np.mean([20 + i % 3 for i in range(40)])
    # The cloud took 6 ms, of which the edge's work hid all but 1.5 ms.
    cell = streamed(make_cell("streamed"), wait_ms=1.5, network_ms=0.0, cloud_compute_ms=6.0, beside_ms=5.0)
    found = value(stages.METRIC, cell)
    beside = found.pop(stages.BESIDE)
    assert beside == 5.0
    assert (found["network"], found["cloud_compute"]) == (0.0, 1.5)
    assert found["rest"] == pytest.approx(mean * (1 - 0.5) - 1.5)
    assert sum(found.values()) == pytest.approx(mean)


def test_what_was_in_vain_is_a_mean_over_requests_and_blank_where_it_was_not_recorded(make_cell) -> None:
    assert value(waste.METRIC, make_cell("before there was any")) is None
    numbers = {name: float(number) for number, name in enumerate(waste.COLUMNS, 1)}
    found = value(waste.METRIC, streamed(make_cell("streamed"), **numbers))
    assert (found.timesteps, found.edge_ms, found.cloud_ms, found.up_bytes, found.down_bytes) == (1, 2, 3, 4, 5)


def test_reductions_are_all_timesteps_of_features_over_what_was_sent(make_cell) -> None:
    cell = make_cell("full", payload_per_step=32)
    found = value(traffic.METRIC, cell)
    assert found.payload_up_bytes == 128
    assert value(reduction.METRIC, cell).payload_vs_float32.value == 4 * 64 * 8 * 8 * 4 / 128
    assert value(reduction.METRIC, cell).payload_vs_packed.value == 4 * 64 * 8 * 8 / 8 / 128
    assert found.wire_up_bytes == 4 * (32 + 80)
    assert value(reduction.METRIC, cell).wire_vs_float32.value == 4 * 64 * 8 * 8 * 4 / (4 * (32 + 80))
    assert value(reduction.METRIC, cell).wire_vs_packed.value == 4 * 64 * 8 * 8 / 8 / (4 * (32 + 80))


def test_an_early_exit_counts_as_reduction(make_cell) -> None:
    cell = make_cell("exit", rule={"policy": "max_softmax", "accumulate": "mean", "threshold": 0.0})
    assert value(reduction.METRIC, cell).payload_vs_float32.value == 4 * 64 * 8 * 8 * 4 / 32


def test_traffic_and_reductions_are_blank_where_they_do_not_apply(make_cell) -> None:
    assert value(traffic.METRIC, make_cell("edge", "edge_only")) is None
    assert value(reduction.METRIC, make_cell("cloud", "cloud_only")) is None


def test_a_hole_in_one_cell_is_its_problem_alone(make_cell) -> None:
    broken, fine = make_cell("broken"), make_cell("fine")
    (broken.folder / "power.parquet").unlink()
    first, second = measure([broken, fine])
    assert first.get(energy.METRIC) is None
    assert first.valid is False
    assert "power.parquet: missing" in first.reasons[0]
    assert second.valid is True


def test_a_comparison_with_an_invalid_baseline_says_so(make_cell) -> None:
    base = make_cell("base", "edge_only", baseline=True, valid=False, reasons=["throttled for 3 s"])
    baseline, found = measure([base, make_cell("co")])
    assert found.valid is True
    assert found.reasons == ["compared with a baseline that is not valid: base"]
    assert baseline.reasons == ["throttled for 3 s"]  # it is not compared with anything but itself
