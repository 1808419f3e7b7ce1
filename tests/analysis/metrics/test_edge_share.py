"""What a fallback changes in the numbers of a cell: the edge's answers are another network's, and nothing was sent."""

from __future__ import annotations

import pytest

from analysis.metrics import edge_share, mean_exit, op_count, reduction
from analysis.metrics.registry import measure
from analysis.replay import replay
from analysis.tables import table
from tests.analysis.measuring import value
from tests.analysis.metrics.test_op_count import counts

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.0}
TENTH = range(4)  # of 40 samples


def test_the_share_is_of_the_answered_requests_and_blank_without_a_fallback(make_cell) -> None:
    assert value(edge_share.METRIC, make_cell("a tenth", fell_back=TENTH)) == pytest.approx(0.1)
    assert value(edge_share.METRIC, make_cell("none", fell_back=[])) == 0.0
    lost = dict.fromkeys(range(4, 24), "timeout")
    assert value(edge_share.METRIC, make_cell("a fifth", fell_back=TENTH, outcomes=lost)) == pytest.approx(0.2)
    without, alone = make_cell("without"), make_cell("alone", "edge_only")
    assert value(edge_share.METRIC, without) is None
    assert value(edge_share.METRIC, alone) is None
    assert not any("by edge" in header for header in table(measure([without, alone]))[0])


def test_the_bytes_of_a_code_are_compared_where_codes_were_sent_alone(make_cell) -> None:
    whole = value(reduction.METRIC, make_cell("whole"))
    assert value(reduction.METRIC, make_cell("a tenth", fell_back=TENTH)) == whole
    assert value(reduction.METRIC, make_cell("all", fell_back=range(40))) is None


def test_the_edge_pays_for_the_whole_network_where_it_answers_alone(make_cell) -> None:
    cell = make_cell("a tenth", fell_back=TENTH, op_counts=counts())
    assert value(op_count.METRIC, cell).compute_mj == pytest.approx(0.9 * 0.004 + 0.1 * 0.032)
    raw = make_cell("cloud", "cloud_only", fell_back=TENTH, op_counts=counts())
    assert value(op_count.METRIC, raw).compute_mj == pytest.approx(0.1 * 0.032)


def test_a_replay_leaves_what_the_edge_answered_alone_at_its_last_timestep(make_cell) -> None:
    found = replay(make_cell("a tenth", fell_back=TENTH), "max_softmax", "mean", [0.0, 1.1])
    assert found["mean_exit_timestep"].tolist() == pytest.approx([0.9 * 1 + 0.1 * 4, 4])
    exited = make_cell("exits", fell_back=TENTH, rule=RULE)
    assert value(mean_exit.METRIC, exited) == pytest.approx(found["mean_exit_timestep"][0])
