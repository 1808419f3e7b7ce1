"""Bits per code beside the zero-order entropy of the model's rates."""

from __future__ import annotations

import math

import pytest

from analysis.metrics import code_bits
from analysis.metrics.registry import measure
from analysis.model import describe_model, zero_order_bits
from analysis.tables import table
from tests.analysis.measuring import value
from tests.made import records

HALF = [[0.5] * 16] * 4
RATES = [[0.0] * 16, [0.5] * 16, [0.25] * 16, [1.0] * 16]


def model(**changes):
    """A small card as `testbed show` reads it."""
    small = {
        "timesteps": 2,
        "classes": ["zero", "one"],
        "feature_shape": [16, 8, 8],
        "code_shape": [2, 4, 4],
        "compression": 1024.0,
        "accuracy_per_timestep": {"full": [0.5, 0.75], "split": [0.4, 0.7]},
        "code_rates": [[0.5, 0.25], [0.0, 1.0]],
    }
    return records.model(**small | changes)


def test_entropy_of_a_fair_coin_is_a_bit_an_element_and_of_a_certain_one_none() -> None:
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert zero_order_bits(model()) == pytest.approx([16 + 16 * quarter, 0])
    assert zero_order_bits(model(code_rates=None)) is None


def test_bits_per_code_are_the_payload_and_the_entropy_of_the_timesteps_that_were_sent(make_cell) -> None:
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    bits = value(code_bits.METRIC, make_cell("co", payload_per_step=32, code_rates=RATES))
    assert bits.sent == 256
    assert bits.entropy == pytest.approx((0 + 256 + 256 * quarter + 0) / 4)


def test_an_early_exit_leaves_out_the_entropy_of_timesteps_that_were_not_sent(make_cell) -> None:
    cell = make_cell("exit", code_rates=RATES, rule={"policy": "max_softmax", "accumulate": "mean", "threshold": 0.0})
    assert set(cell.requests["exit_timestep"]) == {1}
    assert value(code_bits.METRIC, cell).entropy == 0  # RATES[0] alone


def test_a_cell_without_codes_has_no_bits_and_a_model_without_rates_no_entropy(make_cell) -> None:
    assert value(code_bits.METRIC, make_cell("edge", "edge_only")) is None
    assert value(code_bits.METRIC, make_cell("cloud", "cloud_only")) is None
    bits = value(code_bits.METRIC, make_cell("co"))
    assert (bits.sent, bits.entropy) == (256, None)


def test_the_table_has_both_where_codes_were_sent_and_neither_elsewhere(make_cell) -> None:
    edge = make_cell("edge", "edge_only", baseline=True)
    assert not {"code [bit]", "entropy [bit]"} & set(table(measure([edge]))[0])
    headers, rows = table(measure([edge, make_cell("co", code_rates=HALF), make_cell("old")]))
    at = headers.index("code [bit]")
    assert headers[at + 1] == "entropy [bit]"
    assert [row[at : at + 2] for row in rows] == [["", ""], ["256.0", "256.0"], ["256.0", ""]]


def test_a_code_that_never_takes_a_byte_has_no_reduction_and_is_no_error(make_cell) -> None:
    headers, rows = table(measure([make_cell("silent", payload_per_step=0, code_rates=HALF)]))
    assert rows[0][headers.index("code [bit]")] == "0.0"
    assert rows[0][headers.index("payload vs float32")] == ""


def test_a_model_is_described_with_rate_and_entropy_of_each_timestep() -> None:
    (_, facts), (headers, rows) = describe_model(model())
    assert ["code", "2 x 4 x 4"] in facts
    assert ["compression", "1024x"] in facts
    assert headers[0] == "timestep"
    first = dict(zip(headers, rows[0], strict=True))
    assert first["timestep"] == "1"
    assert first["accuracy of split [%]"] == "40.00"
    assert first["spike rate [%]"] == "37.50"
    assert (first["entropy [bit]"], first["entropy [B]"], first["packed [B]"]) == ("29.0", "3.6", "4")
    assert first["entropy of packed [%]"] == "90.6"
    assert len(rows) == 2


def test_a_backbone_without_split_or_rates_is_described_without_them() -> None:
    bare = model(split=None, feature_shape=None, code_shape=None, compression=None, code_rates=None)
    (_, facts), (headers, _) = describe_model(bare)
    assert ["split", "none"] in facts
    assert "code" not in [name for name, _ in facts]
    assert headers == ["timestep", "accuracy of full [%]", "accuracy of split [%]"]
