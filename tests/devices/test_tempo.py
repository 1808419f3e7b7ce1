"""How a node spends its time, and what its power model hears of that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.base.errors import DeviceError
from devices.emulation import EmulatedRadio, EmulatedTempo
from devices.radios import RADIOS
from devices.schedule import Schedule
from devices.tempo import RealTempo

MS = 1_000_000


class Board:
    """An emulated board that computes on its GPU, on a host whose clock moves as a test says."""

    def __init__(self, path: Path) -> None:
        self.now_ns = self.made_ns = 1_000 * MS
        self.writer = ActivityWriter(path, lambda: self.now_ns)
        self.reader = ActivityReader(path)
        schedule = Schedule(lambda: self.now_ns, self._wait)
        self.tempo = EmulatedTempo(self.writer, Activity.GPU, schedule)

    def spent_ms(self) -> tuple[float, ...]:
        """Idle, CPU, GPU since the board was made, as the power model has it."""
        return tuple(ns / MS for ns in self.reader.totals(self.now_ns))

    def _wait(self, t_ns: int) -> None:
        self.while_waiting = self.reader.read()
        self.now_ns = max(self.now_ns, t_ns)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path / "activity")
    yield board
    board.reader.close()
    board.writer.close()


def test_a_span_takes_what_is_owed_for_what_is_computed_in_it(board: Board) -> None:
    began_ns = board.tempo.begin()
    with board.tempo.computing() as span:
        board.now_ns += MS
        board.tempo.owe(3 * MS)
        board.tempo.owe(2 * MS)
    assert (span.start_ns, span.end_ns, span.ns) == (began_ns, began_ns + 5 * MS, 5 * MS)
    assert board.now_ns == began_ns + MS  # the host runs ahead, and waits when something is to leave the node
    assert board.tempo.settle() == board.now_ns == began_ns + 5 * MS


def test_the_power_model_hears_of_the_models_time_and_not_of_the_hosts(board: Board) -> None:
    board.tempo.begin()
    with board.tempo.computing():
        board.now_ns += MS
        board.tempo.owe(1 * MS, Activity.CPU)  # a code is read
        board.tempo.owe(3 * MS)
    with board.tempo.computing():
        board.tempo.owe(1 * MS, Activity.CPU)  # and one is written
    board.tempo.end()
    board.now_ns += 4 * MS
    assert board.spent_ms() == (4, 2, 3)


def test_a_late_host_costs_idle_power_and_no_more_computing(board: Board) -> None:
    board.tempo.begin()
    with board.tempo.computing():
        board.now_ns += 9 * MS
        board.tempo.owe(3 * MS)
    board.tempo.settle()
    assert board.spent_ms() == (6, 0, 3)
    assert (board.tempo.told().stages, board.tempo.told().overruns) == (1, 1)


def test_a_host_that_is_late_where_nobody_waits_makes_up_for_it(board: Board) -> None:
    for host_ms in (9, 1, 1, 1, 1):
        board.tempo.begin(0)
        with board.tempo.computing() as span:
            board.now_ns += host_ms * MS
            board.tempo.owe(3 * MS)
        board.tempo.end()
        assert (span.ns, board.tempo.now_ns - board.tempo.begun_ns) == (3 * MS, 3 * MS)
    assert board.now_ns == board.made_ns + 15 * MS
    assert board.spent_ms() == (0, 0, 15)
    told = board.tempo.told()
    assert (told.stages, told.overruns, told.worst_woken_late_ms) == (5, 0, 0)


def test_what_a_host_does_between_requests_is_seen_by_nobody(board: Board) -> None:
    for _ in range(10):
        board.tempo.begin(0)
        with board.tempo.computing():
            board.now_ns += MS
            board.tempo.owe(3 * MS)
        board.tempo.end()
        assert board.tempo.now_ns - board.tempo.begun_ns == 3 * MS
        board.now_ns += MS
    assert board.spent_ms() == (1, 0, 30)


def test_a_host_that_comes_late_to_a_message_has_the_node_rest_before_it_began(board: Board) -> None:
    board.tempo.begin(0)
    board.now_ns += 4 * MS
    board.tempo.begin(0)
    with board.tempo.computing():
        board.now_ns += MS
        board.tempo.owe(3 * MS)
    with board.tempo.sending():
        pass
    assert board.tempo.now_ns - board.tempo.begun_ns == 3 * MS
    assert board.while_waiting.since_ns == board.tempo.begun_ns
    assert board.spent_ms() == (2, 0, 3)
    assert board.tempo.told().overruns == 0


def test_a_message_leaves_when_the_node_is_ready_and_the_radio_rests_when_its_answer_is_there(board: Board) -> None:
    board.tempo.radio = EmulatedRadio(RADIOS["lte"], board.writer, lambda: None)
    began_ns = board.tempo.begin()
    with board.tempo.computing():
        board.tempo.owe(3 * MS)
    with board.tempo.sending() as sending:
        assert board.now_ns == began_ns + 3 * MS
        assert board.reader.read().radio.draws_uw == 1_288_040
        board.now_ns += 50_000  # the host's
    with board.tempo.waiting() as waiting:
        board.now_ns += 7 * MS
    board.tempo.answered()
    assert (sending.start_ns, sending.end_ns) == (began_ns + 3 * MS, began_ns + 3 * MS)
    assert waiting.end_ns == board.now_ns
    assert board.reader.read().radio.draws_uw == 1_060_000
    assert board.spent_ms() == (7.05, 0, 3)


def test_a_link_that_holds_a_message_up_holds_up_the_node(board: Board) -> None:
    began_ns = board.tempo.begin()
    with board.tempo.sending() as sending:
        board.now_ns += 5 * MS
    assert sending.ns == 5 * MS
    with board.tempo.computing() as span:
        board.tempo.owe(3 * MS)
    assert span.start_ns == began_ns + 5 * MS


def test_what_is_computed_beside_a_message_under_way_takes_what_the_model_says(board: Board) -> None:
    began_ns = board.tempo.begin()
    for _ in range(3):
        with board.tempo.computing():
            board.now_ns += MS
            board.tempo.owe(3 * MS)
        with board.tempo.sending() as span:
            board.now_ns += 50_000
    assert span.start_ns == began_ns + 9 * MS
    assert board.tempo.told().overruns == 0


def test_a_span_that_fails_ends_at_once_and_hands_the_error_on(board: Board) -> None:
    board.tempo.begin()
    span = board.tempo.computing()

    def fail() -> None:
        with span:
            board.now_ns += MS
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert span.ns == MS


def test_what_is_owed_outside_of_a_span_is_an_error(board: Board) -> None:
    with pytest.raises(DeviceError, match="outside of a span of computing"):
        board.tempo.owe(MS)


def test_a_trial_says_what_would_be_owed_and_no_time_passes(board: Board) -> None:
    def run() -> None:
        board.tempo.owe(3 * MS)
        board.tempo.owe(2 * MS, Activity.CPU)

    assert board.tempo.trial(run) == 5 * MS
    assert board.tempo.settle() == board.made_ns
    assert board.tempo.told().stages == 0


def test_a_board_that_sleeps_has_no_radio(board: Board) -> None:
    board.tempo.radio = EmulatedRadio(RADIOS["lte"], board.writer, lambda: None)
    with board.tempo.sending():
        board.now_ns += MS
    board.tempo.sleep()
    assert board.reader.read().radio.draws_uw == 0


def test_a_real_board_takes_the_time_that_it_takes() -> None:
    tempo = RealTempo()
    before_ns = tempo.begin()
    with tempo.computing() as span:
        tempo.owe(10**15)
        time.sleep(0.001)
    assert tempo.trial(lambda: time.sleep(0.001)) >= MS
    assert before_ns == tempo.begun_ns <= span.start_ns < span.end_ns <= tempo.end() <= tempo.now_ns
    assert MS <= span.ns < 10**12
