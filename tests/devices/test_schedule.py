"""A node's time against its host's clock, which moves here only as a test says."""

from __future__ import annotations

import time

import pytest

from devices.schedule import MAX_LAG_NS, Schedule, wait_for_clock

MS = 1_000_000
LATE_NS = 100_000


class Host:
    """A host whose clock moves while it works, and that may wake up late."""

    def __init__(self, wakes_late_ns: int = 0) -> None:
        self.now_ns = 1_000 * MS
        self._wakes_late_ns = wakes_late_ns
        self.schedule = Schedule(lambda: self.now_ns, self._wait)

    def work(self, ns: int) -> None:
        self.now_ns += ns

    def stage(self, host_ns: int, node_ns: int) -> None:
        """Compute something, and wait for the node."""
        self.work(host_ns)
        self.schedule.spend(node_ns)
        self.schedule.ready()
        self.schedule.reach()

    def _wait(self, t_ns: int) -> None:
        if t_ns > self.now_ns:
            self.now_ns = t_ns + self._wakes_late_ns


def test_a_stage_takes_what_the_node_takes_however_fast_the_host_is() -> None:
    for host_ns in (0, MS, 3 * MS):
        host = Host()
        began_ns = host.schedule.begin(None, counted=True)
        host.stage(host_ns, 3 * MS)
        assert host.schedule.now_ns == host.now_ns == began_ns + 3 * MS
        assert (host.schedule.told().stages, host.schedule.told().overruns) == (1, 0)


def test_waking_up_late_does_not_add_up_and_is_no_overrun() -> None:
    host = Host(wakes_late_ns=LATE_NS)
    began_ns = host.schedule.begin(None, counted=True)
    for _ in range(50):
        host.stage(MS, 3 * MS)
    assert host.schedule.now_ns == began_ns + 150 * MS
    told = host.schedule.told()
    assert (told.stages, told.overruns) == (50, 0)
    assert told.woken_late_ms == told.worst_woken_late_ms == LATE_NS / 1e6


def test_what_the_host_has_later_than_the_node_is_an_overrun_and_moves_the_nodes_time() -> None:
    host = Host()
    began_ns = host.schedule.begin(None, counted=True)
    host.stage(2 * MS, 3 * MS)
    host.stage(4 * MS, 3 * MS)
    host.stage(2 * MS, 3 * MS)
    assert host.schedule.now_ns == began_ns + 10 * MS
    told = host.schedule.told()
    assert (told.stages, told.overruns, told.worst_overrun_ms, told.modelled_ms) == (3, 1, 1.0, 9.0)


def test_what_is_late_by_a_hundredth_and_a_little_is_no_overrun_and_moves_nothing() -> None:
    host = Host()
    began_ns = host.schedule.begin(None, counted=True)
    host.stage(10 * MS + 100_000 + 20_000, 10 * MS)
    host.stage(9 * MS, 10 * MS)
    assert host.schedule.now_ns == began_ns + 20 * MS
    assert host.schedule.told().overruns == 0


def test_one_part_of_a_stage_makes_up_for_another() -> None:
    host = Host()
    began_ns = host.schedule.begin(None, counted=True)
    host.work(MS)
    host.schedule.spend(3 * MS)
    host.work(MS)
    host.stage(0, MS // 2)
    assert host.schedule.now_ns == began_ns + 3 * MS + MS // 2
    assert host.schedule.told().overruns == 0


def test_what_the_host_does_between_requests_is_made_up_for() -> None:
    host = Host()
    began_ns = host.schedule.begin(0, counted=True)
    for _ in range(20):
        host.schedule.begin(0, counted=True)
        host.stage(MS, 3 * MS)
        host.work(MS)  # its row
    assert host.schedule.now_ns == began_ns + 60 * MS
    assert host.schedule.told().overruns == 0


def test_what_cannot_be_made_up_for_was_rest_before_the_request() -> None:
    host = Host()
    host.schedule.begin(0, counted=True)
    host.stage(2 * MS, 3 * MS)
    host.work(4 * MS)
    host.schedule.begin(0, counted=True)
    host.stage(2 * MS, 3 * MS)
    assert host.schedule.now_ns - host.schedule.begun_ns == 3 * MS
    assert host.schedule.now_ns == host.now_ns
    assert host.schedule.told().overruns == 0


def test_a_request_that_computes_nothing_begins_when_the_host_comes_to_it() -> None:
    host = Host()
    host.schedule.begin(0, counted=True)
    host.work(MS)
    host.schedule.begin(0, counted=True)
    host.schedule.ready()
    assert host.schedule.begun_ns == host.schedule.reach() == host.now_ns
    assert host.schedule.told().stages == 0


def test_after_a_pause_a_request_begins_when_the_host_does() -> None:
    host = Host()
    host.schedule.begin(None, counted=True)
    host.schedule.pause()
    host.work(10 * MAX_LAG_NS)
    assert host.schedule.begin(0, counted=True) == host.now_ns
    assert host.schedule.told().overruns == 0


def test_a_host_that_falls_too_far_behind_has_overrun() -> None:
    host = Host()
    host.schedule.begin(None, counted=True)
    host.work(MAX_LAG_NS)
    assert host.schedule.begin(0, counted=True) == host.now_ns - MAX_LAG_NS
    host.work(1)
    assert host.schedule.begin(0, counted=True) == host.now_ns
    told = host.schedule.told()
    assert (told.overruns, told.worst_overrun_ms) == (1, (MAX_LAG_NS + 1) / 1e6)


def test_a_request_begins_no_earlier_than_it_is_asked_for() -> None:
    host = Host()
    host.schedule.begin(None, counted=True)
    host.work(2 * MS)
    asked_ns = host.now_ns - MS
    assert host.schedule.begin(asked_ns, counted=True) == asked_ns


def test_after_a_wait_the_nodes_time_is_the_hosts_and_never_goes_back() -> None:
    host = Host()
    began_ns = host.schedule.begin(None, counted=True)
    host.work(7 * MS)
    assert host.schedule.catch_up() == began_ns + 7 * MS
    host.schedule.spend(5 * MS)
    assert host.schedule.catch_up() == began_ns + 12 * MS


def test_a_warm_up_is_not_counted() -> None:
    host = Host()
    host.schedule.begin(None, counted=False)
    host.stage(9 * MS, 3 * MS)
    host.schedule.begin(None, counted=True)
    host.stage(MS, 3 * MS)
    assert (host.schedule.told().stages, host.schedule.told().overruns) == (1, 0)


def test_a_sleep_that_ends_early_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    t_ns = time.monotonic_ns() + 2 * MS
    wait_for_clock(t_ns)
    assert time.monotonic_ns() >= t_ns


def test_a_long_wait_sleeps_and_does_not_spin() -> None:
    cpu_ns = time.thread_time_ns()
    wait_for_clock(time.monotonic_ns() + 50 * MS)
    assert time.thread_time_ns() - cpu_ns < 10 * MS
