"""Packets that were sent again, and whose request's bytes they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.record.resent import Again, ResentRow, StreamRow, sent_again, with_resent
from tests.made import records

HERE = "10.0.0.2:40000"


def stream(request: int, up: tuple[int, int | None], down: tuple[int, int | None], where: str = HERE) -> StreamRow:
    return StreamRow(
        node="board",
        repeat=0,
        request_id=request,
        connection=where,
        up_from=up[0],
        up_to=up[1],
        down_from=down[0],
        down_to=down[1],
    )


def packet(side: str, at: int, wire_bytes: int = 1500, where: str = HERE) -> ResentRow:
    return ResentRow(connection=where, side=side, at=at, wire_bytes=wire_bytes)


def test_a_packet_is_that_requests_whose_bytes_begin_it_whenever_it_was_sent_again() -> None:
    streams = [stream(0, (100, 5000), (50, 90)), stream(1, (5000, 9000), (90, 130))]
    again = sent_again(streams, [packet("up", 4999), packet("up", 5000, 700), packet("down", 89, 92), packet("up", 99)])
    assert again == {("board", 0, 0): Again(1500, 92), ("board", 0, 1): Again(700, 0)}


def test_a_request_that_outlives_its_connection_has_what_either_sent_again() -> None:
    streams = [stream(3, (800, None), (0, None)), stream(3, (0, 200), (0, 40), "10.0.0.2:40001")]
    assert sent_again(streams, [packet("up", 90_000, 60), packet("up", 150, 50, "10.0.0.2:40001")]) == {
        ("board", 0, 3): Again(110, 0)
    }


def test_what_another_connection_lost_is_nobodys() -> None:
    assert sent_again([stream(0, (0, 100), (0, 100))], [packet("up", 50, where="10.0.0.3:40000")]) == {}


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=20), st.lists(st.tuples(st.integers(0, 90_000))))
def test_nothing_is_counted_twice_or_lost(sizes: list[int], lost: list[tuple[int]]) -> None:
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    starts = [0, *ends[:-1]]
    streams = [stream(n, part, part) for n, part in enumerate(zip(starts, ends, strict=True))]
    found = sent_again(streams, [packet("up", at, 52 + at % 1449) for (at,) in lost])
    assert sum(again.up_bytes for again in found.values()) == sum(52 + at % 1449 for (at,) in lost if at < ends[-1])


def test_wire_bytes_include_what_was_sent_again_and_stay_unknown_where_they_are() -> None:
    rows = [
        records.request(request_id=0, wire_up_bytes=1000, wire_down_bytes=200),
        records.request(request_id=1, wire_up_bytes=None, wire_down_bytes=None),
        records.request(request_id=2),
    ]
    again = {("board", 0, 0): Again(60, 7), ("board", 0, 1): Again(60, 7)}
    first, *rest = with_resent(rows, again)
    assert (first.wire_up_bytes, first.wire_down_bytes) == (1060, 207)
    assert rest == rows[1:]
