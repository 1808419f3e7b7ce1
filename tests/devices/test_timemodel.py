"""What a call takes by a board's figures, against sums made by hand."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.timemodel import Roofline, Slowdown, TimeModel, Work

BOARD = Roofline(
    gmacs_per_s=10,
    gbytes_per_s=5,
    call_overhead_us=30,
    code_overhead_us=4,
    entropy_ns_per_bit=20,
    reference="made up for a test",
)


def test_what_takes_longer_of_arithmetic_and_memory_bounds_a_call() -> None:
    assert BOARD.call_ns(Work(macs=2_000_000, bytes=400_000, layers=9)) == 200_000 + 30_000
    assert BOARD.call_ns(Work(macs=2_000_000, bytes=4_000_000, layers=9)) == 800_000 + 30_000


def test_each_layer_adds_its_own_overhead() -> None:
    board = msgspec.structs.replace(BOARD, layer_overhead_us=8.0)
    assert board.call_ns(Work(macs=0, bytes=0, layers=9)) == 9 * 8_000 + 30_000


def test_integers_go_at_their_own_rate_and_as_float_where_it_has_none() -> None:
    work = Work(macs=1_000_000, int8_macs=8_000_000, bytes=0, layers=2)
    assert BOARD.call_ns(work) == 900_000 + 30_000
    assert msgspec.structs.replace(BOARD, int8_gmacs_per_s=40.0).call_ns(work) == 300_000 + 30_000


def test_a_code_passes_through_memory_once_and_costs_more_where_its_bits_are_coded_one_by_one() -> None:
    assert BOARD.code_ns(1000, 125, 0) == 225 + 4_000
    assert BOARD.code_ns(1000, 90, 1000) == 218 + 20_000 + 4_000


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**4))
def test_more_work_never_takes_less(macs: int, int8_macs: int, size: int, layers: int) -> None:
    work = Work(macs=macs, int8_macs=int8_macs, bytes=size, layers=layers)
    taken_ns = BOARD.call_ns(work)
    for key in ("macs", "int8_macs", "bytes", "layers"):
        more = msgspec.structs.replace(work, **{key: getattr(work, key) + 10**6})
        assert BOARD.call_ns(more) >= taken_ns


def test_a_slowdown_is_a_factor() -> None:
    assert Slowdown(slowdown=2.5, reference="made up for a test").ns(1_000_000) == 2_500_000


def test_a_model_travels_with_its_name() -> None:
    for model in (BOARD, Slowdown(slowdown=2.5, reference="made up for a test")):
        told = msgspec.json.encode(model)
        assert msgspec.json.decode(told, type=TimeModel) == model
        assert msgspec.json.decode(told)["model"] in ("roofline", "slowdown")


@pytest.mark.parametrize("changes", [{"gmacs_per_s": 0}, {"call_overhead_us": -1}, {"reference": " "}])
def test_a_figure_that_no_board_has_is_refused(changes: dict[str, object]) -> None:
    told = msgspec.to_builtins(BOARD) | changes
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(told, TimeModel)
