"""What becomes of a request by its deadline, with halves that take the time that a test says."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.tempo import RealTempo
from testbed.errors import LinkError
from testbed.link.client import LinkLost, LinkTimeout
from testbed.link.deadline import Deadline
from testbed.link.kinds import Kind
from testbed.link.messages import CellConfig
from testbed.link.uplink import Uplink, Wire
from testbed.modes.request import Request
from testbed.worker.answering import Answered, Answering
from testbed.worker.fallback import REHEARSALS, Fallback

TIMESTEPS = 3
CARD = SimpleNamespace(timesteps=TIMESTEPS, classes=["no", "yes"])
BUNDLE = SimpleNamespace(inputs=np.zeros((1, 1, 1, 1), np.uint8), labels=np.array([1]))
SURE, OTHER = np.array([0.0, 1.0], np.float32), np.array([2.0, 0.0], np.float32)


class Half:
    """Answers so many timesteps, each after so many seconds, and then fails with an error, if there is one."""

    def __init__(
        self,
        timesteps: int = TIMESTEPS,
        seconds: float = 0.0,
        error: Exception | None = None,
        logits: NDArray[np.float32] = SURE,
    ) -> None:
        self.asked = 0
        self._timesteps, self._seconds, self._error, self._logits = timesteps, seconds, error, logits

    def answer(self, request: Request) -> None:
        self.asked += 1
        for _ in range(self._timesteps):
            threading.Event().wait(self._seconds)
            request.give(self._logits)
        if self._error is not None:
            raise self._error


def answering(
    half: Half,
    *,
    deadline_ms: int | None = None,
    by: str = "edge",
    fallback: Fallback | None = None,
    uplink: Uplink | None = None,
) -> Answering:
    station = SimpleNamespace(
        node="board",
        repeat=0,
        tempo=RealTempo(),
        event=lambda *name, **detail: None,
        cancel=threading.Event(),
    )
    config = CellConfig(mode="edge_only", timeout_ms=5000, deadline_ms=deadline_ms)
    return Answering(half, by, CARD, BUNDLE, config, station, uplink, fallback)


def standing_by(half: Half) -> tuple[Fallback, list[str]]:
    """A fallback that is never looked after, and the names of its events."""
    events: list[str] = []
    fallback = Fallback(half, None, lambda name, detail: events.append(name), now_ns=lambda: 0)
    return fallback, events


def assert_not_answered(answered: Answered, outcome: str) -> None:
    row = answered.row
    assert (row.outcome, row.prediction, row.exit_timestep, row.answered_by) == (outcome, None, None, None)
    assert answered.fault is None


def test_a_request_that_is_answered_says_by_whom() -> None:
    for by in ("edge", "cloud"):
        row = answering(Half(), by=by).answer(0, 0).row
        assert (row.outcome, row.prediction, row.answered_by) == ("ok", 1, by)


def test_what_is_answered_after_its_deadline_is_late_by_so_much_and_counts_as_no_answer() -> None:
    answered = answering(Half(seconds=0.02), deadline_ms=10).answer(0, 0)
    assert_not_answered(answered, "timeout")
    over_ms = answered.row.latency_ms - 10
    assert over_ms >= 50
    assert answered.row.reason == f"answered {over_ms:.3f} ms after its deadline of 10 ms"
    assert len(answered.timesteps) == TIMESTEPS


def test_what_is_given_up_says_how_much_was_missing_at_its_deadline() -> None:
    answered = answering(Half(2, error=LinkTimeout("no reply within 10 ms")), deadline_ms=10).answer(0, 0)
    assert_not_answered(answered, "timeout")
    said = "given up at its deadline of 10 ms with 2 of 3 timesteps answered: no reply within 10 ms"
    assert answered.row.reason == said


def test_a_deadline_counts_from_when_a_request_arrived() -> None:
    edge, ago_ns = answering(Half(seconds=0.2), deadline_ms=2000), 1_450_000_000
    answered = edge.answer(0, 0, time.monotonic_ns() - ago_ns)
    assert_not_answered(answered, "timeout")
    row = answered.row
    assert row.reason == f"answered {row.latency_ms - 2000:.3f} ms after its deadline of 2000 ms"
    assert row.queue_ms is not None
    assert row.t_arrival_ns is not None
    assert 1450 <= row.queue_ms < 2000
    assert row.queue_ms == pytest.approx((row.t_start_ns - row.t_arrival_ns) / 1e6)
    assert row.latency_ms == pytest.approx((row.t_end_ns - row.t_arrival_ns) / 1e6)
    soon = edge.answer(1, 0, time.monotonic_ns()).row
    assert (soon.outcome, soon.reason) == ("ok", None)


def test_a_request_whose_deadline_is_over_before_its_turn_comes_is_not_begun_and_has_a_row() -> None:
    half = Half()
    answered = answering(half, deadline_ms=100).answer(5, 0, time.monotonic_ns() - 200_000_000)
    assert_not_answered(answered, "timeout")
    assert half.asked == 0
    row = answered.row
    assert row.reason == "still queued at its deadline of 100 ms"
    assert (row.request_id, row.t_end_ns, row.edge_compute_ms) == (5, row.t_start_ns, 0)
    assert row.queue_ms == row.latency_ms >= 200
    assert answered.timesteps == []


def test_the_cloud_has_what_waiting_for_its_turn_left_of_a_deadline() -> None:
    left: list[int] = []

    def send(data: bytes, deadline: Deadline, *, awaiting: bool) -> None:
        left.append(deadline.timeout_ms)
        raise LinkError("the cloud refused")

    half = SimpleNamespace(answer=lambda request: request.ask(Kind.INPUT, b"x"))
    uplink = SimpleNamespace(
        place=None, spent=lambda: Wire(7, 8), send=send, end=lambda number: False, take_late=lambda: []
    )
    edge = answering(half, deadline_ms=10_000, uplink=uplink)
    edge.answer(0, 0)
    edge.answer(1, 0, time.monotonic_ns() - 7_000_000_000)
    assert left[0] == 10_000
    assert 0 < left[1] <= 3000


def test_what_arrives_when_it_begins_waits_for_nothing() -> None:
    row = answering(Half()).answer(0, 0).row
    assert (row.t_arrival_ns, row.queue_ms) == (None, None)
    assert row.latency_ms == (row.t_end_ns - row.t_start_ns) / 1e6


def test_without_a_deadline_nothing_that_was_answered_is_late() -> None:
    assert answering(Half(seconds=0.02)).answer(0, 0).row.outcome == "ok"


def test_while_warming_up_there_is_no_deadline() -> None:
    slow = answering(Half(seconds=0.02), deadline_ms=10)
    slow.warming_up = True
    assert slow.answer(0, 0).row.outcome == "ok"
    slow.warming_up = False
    assert slow.answer(1, 0).row.outcome == "timeout"


def test_an_error_of_the_link_stays_one_also_after_the_deadline() -> None:
    answered = answering(Half(1, 0.02, LinkError("the cloud refused")), deadline_ms=10).answer(0, 0)
    assert_not_answered(answered, "error")
    assert answered.row.reason == "the cloud refused"


LOST = LinkLost("the data connection was lost"), LinkTimeout("no reply within 20 ms"), LinkError("the cloud refused")


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_with_a_fallback_the_edge_begins_a_request_anew_and_its_rows_are_of_the_edges_answer_alone(error) -> None:
    fallback, events = standing_by(Half(logits=OTHER))
    cloud = Half(2, error=error)
    edge = answering(cloud, by="cloud", fallback=fallback)
    answered = edge.answer(0, 0)
    row = answered.row
    assert (row.outcome, row.reason, row.answered_by, row.prediction) == ("ok", None, "edge", 0)
    assert row.exit_timestep == TIMESTEPS
    assert [step.logits for step in answered.timesteps] == [[2.0, 0.0]] * TIMESTEPS
    assert events == ["cloud_lost"]
    assert edge.answer(1, 0).row.answered_by == "edge"
    assert cloud.asked == 1  # the next request did not wait for it
    fallback.alone = False
    assert edge.answer(2, 0).row.answered_by == "edge"
    assert cloud.asked == 2


def test_the_connection_is_made_anew_once_when_the_cloud_is_lost() -> None:
    renewed: list[None] = []
    uplink = SimpleNamespace(
        place=None, spent=lambda: Wire(7, 8), renew=lambda: renewed.append(None), take_late=lambda: []
    )
    edge = answering(Half(1, error=LOST[2]), by="cloud", fallback=standing_by(Half())[0], uplink=uplink)
    for number in range(3):
        assert edge.answer(number, 0).row.wire_up_bytes == 7
        assert len(renewed) == 1


def test_a_fallback_that_is_late_itself_is_a_timeout() -> None:
    fallback, _ = standing_by(Half(seconds=0.25))
    answered = answering(Half(1, error=LOST[1]), by="cloud", deadline_ms=600, fallback=fallback).answer(0, 0)
    assert_not_answered(answered, "timeout")
    assert "after its deadline of 600 ms" in str(answered.row.reason)


def test_an_edge_does_not_begin_what_is_late_already() -> None:
    alone = Half()
    fallback, events = standing_by(alone)
    answered = answering(Half(2, 0.02, LOST[0]), by="cloud", deadline_ms=10, fallback=fallback).answer(0, 0)
    assert_not_answered(answered, "timeout")
    assert "given up at its deadline of 10 ms with 2 of 3 timesteps answered" in str(answered.row.reason)
    assert alone.asked == 0
    assert events == ["cloud_lost"]


def test_the_edge_rehearses_before_it_is_needed() -> None:
    alone = Half()
    fallback, events = standing_by(alone)
    answering(Half(), by="cloud", deadline_ms=100, fallback=fallback).rehearse([0])
    assert alone.asked == REHEARSALS
    assert events == ["fallback_ready"]
