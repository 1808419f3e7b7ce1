"""What is told of events that a peer can cause without end."""

from __future__ import annotations

import math
from typing import Any

from testbed.link.sparing import MAX_KINDS, WHOLE, WHOLE_OF_A_PEER, Sparing


def told(*events: tuple[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    sparing = Sparing(lambda name, detail: found.append((name, detail)))
    for name, detail in events:
        sparing(name, detail)
    return found


def test_the_first_events_are_told_of_as_they_are() -> None:
    events = [("frame_refused", {"reason": "bad_magic", "bytes": n}) for n in range(WHOLE)]
    assert told(*events) == events


def test_a_flood_is_told_of_ever_more_seldom_and_with_its_number() -> None:
    found = told(*[("frame_refused", {"reason": "bad_magic"})] * 100_000)
    assert len(found) <= WHOLE + math.log2(100_000)
    assert [detail.get("so_far") for _, detail in found[WHOLE:]] == [2**n for n in range(5, 17)]


def test_a_peer_that_floods_leaves_room_for_others_and_other_reasons() -> None:
    flood = [("peer_unreachable", {"reason": "gone", "peer": "a"})] * 1000
    other = ("peer_unreachable", {"reason": "gone", "peer": "b"})
    reason = ("peer_unreachable", {"reason": "does not read", "peer": "a"})
    found = told(*flood, other, reason)
    assert found[-2:] == [other, reason]
    assert sum("so_far" not in detail for _, detail in found[:-2]) == WHOLE_OF_A_PEER


def test_reasons_without_end_are_bounded_too() -> None:
    found = told(*[("frame_refused", {"reason": f"reason {n}"}) for n in range(10_000)])
    assert len(found) <= MAX_KINDS + WHOLE + math.log2(10_000)
