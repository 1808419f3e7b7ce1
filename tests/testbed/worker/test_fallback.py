"""When an edge asks its cloud again, by a clock and over a link that a test moves."""

from __future__ import annotations

import pytest

from testbed.errors import LinkError
from testbed.link.client import LinkLost
from testbed.worker.fallback import FIRST_PAUSE_S, LONGEST_PAUSE_S, Fallback


class Link:
    """A connection that is up or down; `echoes` holds the probes that were echoed on it."""

    def __init__(self) -> None:
        self.up, self.renewed = True, 0
        self.sent: list[int] = []
        self.echoes: list[int] = []
        self.breaks: Exception | None = None

    def send_probe(self, number: int) -> bool:
        if self.up:
            self.sent.append(number)
        return self.up

    def has_echo(self, number: int) -> bool:
        if self.breaks is not None:
            error, self.breaks = self.breaks, None
            raise error
        found, self.echoes = self.echoes, []
        return number in found

    def renew(self) -> None:
        self.renewed += 1
        self.echoes = []


class Bench:
    """A fallback on a clock that only `at` moves; `events` are names with what a test asks about."""

    def __init__(self) -> None:
        self.link, self.now_s = Link(), 0.0
        self.events: list[tuple[float, str, dict[str, object]]] = []
        self.fallback = Fallback(
            None,
            self.link,
            lambda name, detail: self.events.append((self.now_s, name, detail)),
            now_ns=lambda: round(self.now_s * 1e9),
        )

    def at(self, seconds: float) -> bool:
        """Look at that time; returns whether the cloud is asked then."""
        self.now_s = seconds
        self.fallback.look()
        return not self.fallback.alone

    def names(self) -> list[tuple[float, str]]:
        return [(when, name) for when, name, _ in self.events]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.fallback.lost(7, "no reply within 20 ms")
    return bench


def test_a_cloud_that_answers_is_asked_and_never_probed() -> None:
    bench = Bench()
    assert bench.at(0)
    assert bench.at(1000)
    assert not bench.link.sent
    assert not bench.events


def test_a_lost_cloud_is_probed_after_the_first_pause_and_asked_again_once_it_echoes(bench: Bench) -> None:
    assert bench.events == [
        (0, "cloud_lost", {"request": 7, "message": "no reply within 20 ms", "pause_s": FIRST_PAUSE_S})
    ]
    assert not bench.at(FIRST_PAUSE_S - 0.001)
    assert not bench.link.sent
    assert not bench.at(FIRST_PAUSE_S)
    assert bench.link.sent == [1]
    assert not bench.at(FIRST_PAUSE_S + 0.1)
    bench.link.echoes = [1]
    assert bench.at(FIRST_PAUSE_S + 0.2)
    assert bench.events[1:] == [
        (1.0, "probe_sent", {"probe": 1, "pause_s": 2.0}),
        (1.2, "cloud_back", {"probe": 1, "away_s": 1.2}),
    ]
    assert bench.link.renewed == 0


def test_the_pauses_between_probes_double_up_to_the_longest(bench: Bench) -> None:
    for tenth in range(2000):
        assert not bench.at(tenth / 10)
    sent = [when for when, name in bench.names() if name == "probe_sent"]
    assert sent == [1, 3, 7, 15, 31, 61, 91, 121, 151, 181]
    pauses = [detail["pause_s"] for _, name, detail in bench.events if name == "probe_sent"]
    assert pauses == [2, 4, 8, 16] + [LONGEST_PAUSE_S] * 6
    failed = [(when, detail) for when, name, detail in bench.events if name == "probe_failed"]
    assert failed[:2] == [
        (3, {"probe": 1, "message": "no echo within 2 s"}),
        (7, {"probe": 2, "message": "no echo within 4 s"}),
    ]
    assert bench.link.renewed == len(failed)


def test_after_another_loss_the_pauses_begin_anew_and_the_probes_count_on(bench: Bench) -> None:
    for second in range(20):
        bench.at(second)
    bench.link.echoes = [bench.link.sent[-1]]
    assert bench.at(20)
    bench.fallback.lost(9, "again")
    assert not bench.at(20.9)
    assert not bench.at(21)
    assert bench.link.sent == [1, 2, 3, 4, 5]
    assert bench.events[-1] == (21, "probe_sent", {"probe": 5, "pause_s": 2.0})


def test_the_echo_of_an_earlier_probe_does_not_count(bench: Bench) -> None:
    bench.at(1)
    bench.at(3)
    assert bench.link.sent == [1, 2]
    bench.link.echoes = [1]
    assert not bench.at(3.5)
    bench.link.echoes = [2]
    assert bench.at(4)


def test_an_echo_on_a_connection_that_broke_does_not_count_and_the_next_probe_keeps_its_time(bench: Bench) -> None:
    bench.at(1)
    bench.link.echoes, bench.link.breaks = [1], LinkLost("the data connection was lost")
    assert not bench.at(1.5)
    for hundredth in range(151, 300):
        assert not bench.at(hundredth / 100)
    assert bench.link.sent == [1]
    bench.at(3)
    assert bench.link.sent == [1, 2]
    failed = [(when, detail) for when, name, detail in bench.events if name == "probe_failed"]
    assert failed == [(1.5, {"probe": 1, "message": "the data connection was lost"})]


def test_a_probe_waits_for_its_connection_and_fails_if_there_is_none(bench: Bench) -> None:
    bench.link.up = False
    bench.at(1)
    bench.at(3)
    assert bench.events[-1] == (3, "probe_failed", {"probe": 1, "message": "no data connection within 2 s"})
    bench.at(5)
    bench.link.up = True
    bench.at(5.5)
    assert bench.events[-1] == (5.5, "probe_sent", {"probe": 2, "pause_s": 4.0})
    bench.link.echoes = [2]
    assert bench.at(9.4)  # its window began when it was sent


def test_an_edge_whose_requests_take_longer_than_the_pauses_finds_its_cloud_again(bench: Bench) -> None:
    for turn in range(1, 4):
        bench.link.echoes = bench.link.sent[-1:]
        if bench.at(100 * turn):
            break
    assert not bench.fallback.alone
    assert bench.link.sent == [1]


def test_a_link_that_cannot_be_used_is_a_failed_probe_and_no_error(bench: Bench) -> None:
    def fail(number: int) -> bool:
        raise LinkError("cannot send")

    bench.link.send_probe = fail
    assert not bench.at(1)
    assert bench.events[-1] == (1, "probe_failed", {"probe": 1, "message": "cannot send"})


def test_the_cloud_has_what_the_edge_does_not_need_of_the_deadline() -> None:
    bench = Bench()
    bench.fallback.rehearsed([float(each) for each in range(1, 21)], 50)
    assert bench.fallback.cloud_ms(50) == 30  # the 95th percentile of 1 to 20 is 19.05
    ((_, name, detail),) = bench.events
    assert name == "fallback_ready"
    assert detail == {"alone_p95_ms": pytest.approx(19.05), "rehearsals": 20, "cloud_ms": 30}


def test_where_the_edge_alone_would_be_late_the_cloud_has_all_of_the_deadline() -> None:
    bench = Bench()
    bench.fallback.rehearsed([60.0] * 20, 50)
    assert bench.fallback.cloud_ms(50) == 50
