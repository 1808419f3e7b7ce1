"""What is sent costs energy: bytes, the time that the radio is on, and its tail."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import pytest

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.emulation import EmulatedRadio, EmulatedTempo
from devices.links.conditions import Direction, Link, Technology
from devices.links.load import load_link
from devices.power.emulated import EmulatedPower, EmulatedSource
from devices.power.source import Surroundings
from devices.radios import RADIOS, Radio, radio_of
from devices.schedule import Schedule
from tests.devices.lines import integrate_mj

MS = 1_000_000
S = 1_000_000_000
POWER = EmulatedPower(rail="R", rate_hz=100, idle_mw=5200, cpu_busy_mw=5600, radio_mw=320, reference="test")
LTE = RADIOS["lte"]


class Traffic(NamedTuple):
    tx_bytes: int
    rx_bytes: int


class Board:
    """An emulated board with a radio, sampled every 10 ms of its own time."""

    def __init__(self, folder: Path, radio: Radio) -> None:
        self.now_ns = 10**9
        self.traffic: Traffic | None = Traffic(5_000, 7_000)
        self.writer = ActivityWriter(folder / "activity", lambda: self.now_ns)
        self.source = EmulatedSource(POWER, Surroundings(folder / "activity", radio=radio), lambda: self.now_ns)
        self.source.probe()
        schedule = Schedule(lambda: self.now_ns, lambda t_ns: self.run(max(0, t_ns - self.now_ns)))
        self.tempo = EmulatedTempo(self.writer, Activity.CPU, schedule)
        self.tempo.radio = EmulatedRadio(radio, self.writer, lambda: self.traffic)
        self.lines: list[dict[str, float]] = []

    def run(self, duration_ns: int) -> None:
        """Let time pass."""
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, (self.now_ns // (10 * MS) + 1) * 10 * MS)
            if self.now_ns % (10 * MS) == 0:
                self.lines += [{"t_ns": sample.t_ns, "mw": sample.mw} for sample in self.source.read()]

    def exchange(self, up_bytes: int, down_bytes: int, duration_ns: int) -> None:
        """Send, and have the answer after so long."""
        with self.tempo.sending():
            pass
        with self.tempo.waiting():
            self.run(duration_ns)
            if self.traffic is not None:
                self.traffic = Traffic(self.traffic.tx_bytes + up_bytes, self.traffic.rx_bytes + down_bytes)
        self.tempo.answered()

    def compute(self, duration_ns: int) -> None:
        with self.tempo.computing():
            self.tempo.owe(duration_ns)

    def radio_mj(self) -> float:
        reader = ActivityReader(self.source._path)  # noqa: SLF001
        taken_mj = reader.read().radio.taken_at(self.now_ns) / 1e6
        reader.close()
        return taken_mj


def test_an_exchange_costs_its_bytes_the_time_that_it_takes_and_a_tail(tmp_path: Path) -> None:
    board = Board(tmp_path, LTE)
    board.exchange(10_000, 500, 80 * MS)
    board.run(20 * S)
    bytes_mj = 438.39 * 0.08 + 51.97 * 0.004
    assert board.radio_mj() == pytest.approx(bytes_mj + 1288.04 * 0.080 + 1060.0 * 11.576, rel=1e-6)


def test_the_next_message_ends_the_tail(tmp_path: Path) -> None:
    board = Board(tmp_path, LTE)
    board.exchange(0, 0, 50 * MS)
    board.run(2 * S)
    board.exchange(0, 0, 50 * MS)
    board.run(20 * S)
    assert board.radio_mj() == pytest.approx(1288.04 * 0.1 + 1060.0 * (2 + 11.576), rel=1e-6)


def test_the_same_bytes_cost_more_where_they_take_longer(tmp_path: Path) -> None:
    taken_mj = []
    for name, duration_ns in (("fast", 50 * MS), ("slow", 500 * MS)):
        (tmp_path / name).mkdir()
        board = Board(tmp_path / name, RADIOS["wifi"])
        board.exchange(3_000, 100, duration_ns)
        board.run(S)
        taken_mj.append(board.radio_mj())
    assert taken_mj[1] - taken_mj[0] == pytest.approx(132.86 * 0.45, rel=1e-6)


@pytest.mark.parametrize("technology", RADIOS)
def test_the_energy_of_a_scripted_sequence_is_that_computed_by_hand(technology: Technology, tmp_path: Path) -> None:
    radio = RADIOS[technology]
    board = Board(tmp_path, radio)
    board.run(S)
    start_ns = board.now_ns
    requests, steps, up, down = 40, 3, 4_321, 987
    for _ in range(requests):
        board.tempo.begin()
        for _ in range(steps):
            board.compute(7 * MS)
            board.exchange(up, down, 31 * MS)
    end_ns = board.now_ns
    board.run(S)
    exchanges = requests * steps
    mbit_up, mbit_down = (8e-6 * exchanges * count for count in (up, down))
    on_s, computing_s = 0.031 * exchanges, 0.007 * exchanges
    by_hand_mj = 5200 * (on_s + computing_s) + 400 * computing_s
    by_hand_mj += radio.up_mj_per_mbit * mbit_up + radio.down_mj_per_mbit * mbit_down + radio.active_mw * on_s
    by_hand_mj += radio.tail_mw * 0.007 * (exchanges - 1)  # between messages; the first one finds the radio off
    assert integrate_mj(board.lines, start_ns, end_ns) == pytest.approx(by_hand_mj, rel=0.002)


def test_what_is_sent_while_nothing_is_asked_is_charged_with_the_next_message(tmp_path: Path) -> None:
    board = Board(tmp_path, RADIOS["5g"])
    board.traffic = Traffic(6_000, 7_000)
    board.exchange(1_000, 0, 10 * MS)
    assert board.radio_mj() == pytest.approx(29.15 * 0.016 + 249 * 0.010, rel=1e-5)


def test_a_connection_that_is_down_is_charged_when_it_is_back(tmp_path: Path) -> None:
    board = Board(tmp_path, RADIOS["5g"])
    board.traffic = None
    board.exchange(0, 0, 10 * MS)
    assert board.radio_mj() == pytest.approx(249 * 0.010, rel=1e-5)
    board.traffic = Traffic(7_000, 7_000)
    board.exchange(0, 0, 10 * MS)
    assert board.radio_mj() == pytest.approx(29.15 * 0.016 + 249 * 0.020, rel=1e-5)


def test_a_message_without_an_answer_costs_what_it_took(tmp_path: Path) -> None:
    board = Board(tmp_path, LTE)
    with board.tempo.sending():
        board.run(300 * MS)
    board.tempo.answered()
    board.run(20 * S)
    assert board.radio_mj() == pytest.approx(1288.04 * 0.3 + 1060.0 * 11.576, rel=1e-6)


def test_the_radio_stays_on_while_the_board_computes_beside_messages_that_are_under_way(tmp_path: Path) -> None:
    board = Board(tmp_path, LTE)
    for _ in range(3):
        with board.tempo.sending():
            board.run(2 * MS)
        board.compute(10 * MS)
    with board.tempo.waiting():
        board.run(20 * MS)
    board.tempo.answered()
    board.run(S)
    board.tempo.answered()  # nothing is under way, so its tail goes on
    board.run(20 * S)
    assert board.radio_mj() == pytest.approx(1288.04 * 0.056 + 1060.0 * 11.576, rel=1e-6)


def test_a_board_that_sleeps_has_no_tail_and_owes_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path, LTE)
    board.exchange(0, 0, 100 * MS)
    before_mj = board.radio_mj()
    board.traffic = Traffic(9_000_000, 9_000_000)  # such as a check of the path
    board.tempo.sleep()
    start_ns = board.now_ns
    board.run(S)
    assert board.radio_mj() == before_mj
    assert [line["mw"] for line in board.lines if line["t_ns"] > start_ns] == pytest.approx([5200.0] * 100)
    board.exchange(0, 0, 100 * MS)
    assert board.radio_mj() == pytest.approx(before_mj + 128.804, rel=1e-6)


def test_every_technology_but_other_has_a_radio_with_a_source() -> None:
    assert {*RADIOS, "other"} == set(get_args(Technology))
    assert all(radio.source and radio.active_mw > 0 for radio in RADIOS.values())
    assert {load_link(name).technology for name in RADIOS} == set(RADIOS)


@pytest.mark.parametrize("link", [None, Link(name="a", technology="other", up=Direction(), down=Direction())])
def test_a_path_without_a_technology_has_the_boards_own_radio(link: Link | None) -> None:
    assert radio_of(link, 320.0, "a book") == Radio(name="the board's own", active_mw=320.0, source="a book")


def test_a_link_has_the_radio_of_its_technology() -> None:
    assert radio_of(load_link("lte-drive"), 320.0, "a book") is LTE


def test_a_radio_survives_the_way_to_the_sampler() -> None:
    for radio in RADIOS.values():
        assert msgspec.json.decode(msgspec.json.encode(radio), type=Radio) == radio
