"""Cells beside each other: which with which, what is beyond noise, what is said of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from analysis.compare import compare
from testbed.errors import RecordError
from testbed.record.reader import Cell

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


def found(comparison, name, pair=0):
    return next(each for each in comparison.pairs[pair].differences if each.name == name)


def renamed(cell: Cell, label: str) -> Cell:
    return replace(cell, manifest=msgspec.structs.replace(cell.manifest, label=label))


def test_a_slower_cell_that_takes_more_and_sends_as_much(make_cell) -> None:
    slow = make_cell("slow", latency_ms=24, busy_mw=6000, jitter_mw=5)
    comparison = compare([make_cell("fast", latency_ms=20, busy_mw=6000, jitter_mw=5)], [slow])
    assert found(comparison, "latency_p50_ms").difference == pytest.approx(4)
    assert found(comparison, "energy_mj").percent == pytest.approx(400 / 21, abs=0.5)
    verdicts = {each.name: each.verdict for each in comparison.pairs[0].differences}
    assert {name for name, verdict in verdicts.items() if verdict == "beyond noise"} == {
        "latency_p50_ms",
        "latency_p95_ms",
        "energy_mj",
        "energy_net_mj",
    }
    assert found(comparison, "payload_up_bytes").difference == 0
    assert found(comparison, "latency_p50_ms").paired


def test_an_edge_that_only_waits_longer_takes_more_gross_and_as_much_net(make_cell) -> None:
    # Mean latencies are 1 ms longer, so 1000 mW over idle for 21 ms are 840 mW over idle for 25 ms.
    quick = make_cell("quick", latency_ms=20, busy_mw=6000, jitter_mw=5)
    waits = make_cell("waits", latency_ms=24, busy_mw=5840, jitter_mw=5)
    comparison = compare([quick], [waits])
    assert found(comparison, "energy_mj").verdict == "beyond noise"
    net = found(comparison, "energy_net_mj")
    assert (net.unit, net.verdict) == ("mJ", "within noise")
    assert net.a == pytest.approx(21, rel=0.05)
    assert net.difference == pytest.approx(0, abs=0.5)


def test_a_cell_measured_twice_differs_in_nothing(make_cell) -> None:
    comparison = compare([make_cell("one", jitter_mw=20)], [make_cell("two", jitter_mw=20)])
    assert comparison.beyond == []
    assert comparison.pairs[0].facts == []
    assert len(comparison.judged) == 7


def test_fewer_right_answers_and_earlier_exits_are_found(make_cell) -> None:
    comparison = compare([make_cell("full")], [make_cell("exit", rule=RULE, wrong=4)])
    assert found(comparison, "accuracy").difference == pytest.approx(-4 / 40, abs=0.05)
    assert found(comparison, "mean_exit_timestep").verdict == "beyond noise"
    assert ("config.exit.threshold", None, "0.8") in comparison.pairs[0].facts


def test_cells_of_two_campaigns_are_matched_by_label_and_the_others_are_named(make_cell) -> None:
    ours = [make_cell("a"), make_cell("b", latency_ms=30), make_cell("of A alone", "edge_only")]
    theirs = [make_cell("b/2", latency_ms=30), make_cell("a/2"), make_cell("of B alone", "cloud_only")]
    comparison = compare(ours, [renamed(theirs[0], "b"), renamed(theirs[1], "a"), theirs[2]])
    assert [(pair.a.manifest.label, pair.b.folder.name) for pair in comparison.pairs] == [("a", "a-2"), ("b", "b-2")]
    assert comparison.alone == ["only in A: of A alone", "only in B: of B alone"]
    assert comparison.beyond == []


def test_other_samples_are_not_paired_and_it_is_said(make_cell) -> None:
    comparison = compare([make_cell("one", asked=[range(20)] * 3)], [make_cell("two", asked=[range(10, 40)] * 3)])
    assert not found(comparison, "latency_p50_ms").paired
    assert "other samples or repeats in B: repeats are not paired" in comparison.pairs[0].notes


def test_emulated_and_measured_energies_are_not_compared_and_it_is_said(make_cell) -> None:
    comparison = compare([make_cell("model")], [make_cell("board", emulated=False)])
    assert not {"energy_mj", "energy_net_mj"} & {each.name for each in comparison.pairs[0].differences}
    assert (
        comparison.pairs[0].notes[0].startswith("A's nodes are emulated, B's are measured: energies are not compared")
    )


def test_what_cannot_be_compared_is_refused_with_its_reason(make_cell) -> None:
    with pytest.raises(RecordError, match="nothing of A can be compared with B; one: not complete in B"):
        compare([make_cell("one")], [make_cell("two", state="failed")])
    invalid = make_cell("throttled", valid=False, reasons=["too warm"])
    with pytest.raises(RecordError, match=r"invalid in B \(too warm\); --include-invalid"):
        compare([make_cell("three")], [invalid])
    assert "invalid in B: too warm" in compare([make_cell("four")], [invalid], include_invalid=True).pairs[0].notes
