"""Where each request stands on the cloud."""

from __future__ import annotations

import pytest

from testbed.link.crowd import MAX_CONNECTIONS
from testbed.link.kinds import FrameError
from testbed.modes.sessions import MAX_SESSIONS, Sessions

T = 3


@pytest.fixture
def sessions() -> Sessions[str]:
    return Sessions(T)


def test_a_timestep_starts_from_the_state_that_the_one_before_left(sessions) -> None:
    sessions.keep(b"a", 1, 0, "after 0")
    assert sessions.state(b"a", 1, 1) == "after 0"
    sessions.keep(b"a", 1, 1, "after 1")
    assert sessions.state(b"a", 1, 2) == "after 1"


def test_the_same_request_of_two_peers_is_two_sessions(sessions) -> None:
    sessions.keep(b"a", 1, 0, "of a")
    sessions.keep(b"b", 1, 0, "of b")
    sessions.end(b"b", 1)
    assert sessions.state(b"a", 1, 1) == "of a"
    with pytest.raises(FrameError, match="request 1 has no session here"):
        sessions.state(b"b", 1, 1)


@pytest.mark.parametrize("timestep", [1, 3])
def test_a_timestep_out_of_order_is_refused_and_harms_nothing(sessions, timestep: int) -> None:
    sessions.keep(b"a", 1, 0, "s")
    sessions.keep(b"a", 1, 1, "s")
    with pytest.raises(FrameError, match=f"at timestep 2, not {timestep}") as caught:
        sessions.state(b"a", 1, timestep)
    assert caught.value.reason == "bad_timestep"
    assert sessions.state(b"a", 1, 2) == "s"


def test_after_the_last_timestep_nothing_is_kept(sessions) -> None:
    for timestep in range(T):
        sessions.keep(b"a", 1, timestep, "s")
    with pytest.raises(FrameError) as caught:
        sessions.state(b"a", 1, T)
    assert caught.value.reason == "unknown_session"


def test_the_session_that_rested_longest_goes_first(sessions) -> None:
    for request in range(MAX_SESSIONS + 1):
        sessions.keep(b"a", request, 0, "s")
    assert sessions.state(b"a", 1, 1) == "s"
    with pytest.raises(FrameError):
        sessions.state(b"a", 0, 1)


def test_a_session_that_is_gone_on_with_is_not_the_oldest(sessions) -> None:
    sessions.keep(b"a", 0, 0, "s")
    sessions.keep(b"a", 1, 0, "s")
    sessions.keep(b"a", 0, 1, "s")
    for request in range(2, MAX_SESSIONS + 1):
        sessions.keep(b"a", request, 0, "s")
    assert sessions.state(b"a", 0, 2) == "s"
    with pytest.raises(FrameError):
        sessions.state(b"a", 1, 1)


def test_a_peer_that_floods_loses_its_own_sessions_and_no_other_peers(sessions) -> None:
    sessions.keep(b"edge", 7, 0, "alive")
    for request in range(3 * MAX_SESSIONS):
        sessions.keep(b"stranger", request, 0, "s")
    assert sessions.state(b"edge", 7, 1) == "alive"


def test_as_many_peers_as_may_connect_cannot_push_out_another_ones_only_session(sessions) -> None:
    sessions.keep(b"edge", 7, 0, "alive")
    for request in range(MAX_SESSIONS):
        for number in range(MAX_CONNECTIONS - 1):
            sessions.keep(b"%d" % number, request, 0, "s")
    assert sessions.state(b"edge", 7, 1) == "alive"
