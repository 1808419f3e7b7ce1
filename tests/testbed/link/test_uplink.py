"""A frame and its answer, against a cloud that also says what nobody asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from testbed.errors import LinkError
from testbed.link import frames
from testbed.link.client import LinkLost, LinkTimeout
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.link.server import DataServer
from testbed.link.uplink import Uplink
from tests.calm import Stalls, in_a_calm_moment

QUESTION = frames.pack(Frame(Kind.STEP, 7, 1, payload=b"?"))
ABOUT = (7, 1)


def result(request: int, timestep: int, text: bytes) -> bytes:
    return frames.pack(Frame(Kind.RESULT, request, timestep, payload=text))


@contextmanager
def cloud(answer: Callable[[DataServer, bytes, threading.Event], None]) -> Iterator[str]:
    """A server that hands each message's sender to `answer`; gives its endpoint."""
    stop = threading.Event()
    with DataServer("127.0.0.1", 0, None, [], on_event=lambda name, detail: None) as server:

        def serve() -> None:
            while not stop.is_set():
                if (received := server.recv(20)) is not None:
                    answer(server, received[0], stop)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.endpoint
        finally:
            stop.set()
            thread.join()


@contextmanager
def uplink(endpoint: str) -> Iterator[Uplink]:
    link = Uplink(endpoint, None, None, Deadline(5000))
    try:
        yield link
    finally:
        link.close()
        link.close()


def ask(link: Uplink, timeout_ms: int = 5000) -> Frame:
    deadline = Deadline(timeout_ms)
    link.send(QUESTION, deadline)
    return link.answer(ABOUT, deadline)


def test_the_answer_to_another_request_or_timestep_is_passed_over() -> None:
    def answer(server: DataServer, peer: bytes, stop: threading.Event) -> None:
        for request, timestep, text in ((6, 3, b"late"), (7, 0, b"before"), (7, 1, b"this")):
            server.send(peer, result(request, timestep, text))

    with cloud(answer) as endpoint, uplink(endpoint) as link:
        assert bytes(ask(link).payload) == b"this"


def test_late_answers_do_not_prolong_the_deadline() -> None:
    def answer(server: DataServer, peer: bytes, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            server.send(peer, result(6, 3, b"late"))

    with cloud(answer) as endpoint, uplink(endpoint) as link:
        start = time.monotonic()
        with Stalls() as stalls, pytest.raises(LinkTimeout, match="no reply within 200 ms"):
            ask(link, 200)
        assert 0.2 <= time.monotonic() - start < 0.5 + stalls.longest_ms / 1000


def test_a_renewed_connection_is_counted_on_top_of_the_one_before() -> None:
    def answer(server: DataServer, peer: bytes, stop: threading.Event) -> None:
        server.send(peer, result(*ABOUT, bytes(1000)))

    with cloud(answer) as endpoint, uplink(endpoint) as link:
        ask(link)
        first, before = link.spent(), link.counters
        link.renew()
        ask(link)
        second = link.spent()
        assert first is not None
        assert second is not None
        assert first.down_bytes > 1000
        assert second.down_bytes > first.down_bytes  # with the handshake of the new connection
        assert link.counters.rx_bytes == before.rx_bytes + second.down_bytes


def test_a_connection_that_was_never_made_anew_has_spent_nothing() -> None:
    with cloud(lambda server, peer, stop: None) as endpoint:
        link = Uplink(endpoint, None, None, Deadline(5000))
        link.spent()
    link.renew()
    assert link.spent() == (0, 0)
    link.close()


def test_a_cloud_that_is_not_there_is_an_error_and_leaves_nothing_open() -> None:
    with cloud(lambda server, peer, stop: None) as endpoint:
        pass
    before = threading.active_count()
    with pytest.raises(LinkError, match="nothing listens"):
        Uplink(endpoint, None, None, Deadline(1000))
    assert threading.active_count() == before


def until(happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not (found := happens()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def echo(number: int) -> bytes:
    return frames.pack(Frame(Kind.ECHO, number))


def test_a_probe_is_sent_and_its_echo_found_without_waiting_and_no_other_echo_counts() -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def answer(server: DataServer, peer: bytes, stop: threading.Event) -> None:
        asked.set()
        may_answer.wait(20)
        for data in (result(*ABOUT, b"late"), echo(1), echo(2)):
            server.send(peer, data)

    with cloud(answer) as endpoint, uplink(endpoint) as link:
        assert link.send_probe(2)
        assert asked.wait(20)

        def is_told_at_once() -> None:
            start = time.monotonic()
            assert not link.has_echo(2)
            assert time.monotonic() - start < 0.2

        in_a_calm_moment(is_told_at_once)
        may_answer.set()
        assert until(lambda: link.has_echo(2))
        assert not link.has_echo(2)


def test_a_probe_cannot_be_sent_nor_echoed_on_a_connection_that_broke() -> None:
    def answer(server: DataServer, peer: bytes, stop: threading.Event) -> None:
        server.send(peer, echo(1))

    with cloud(answer) as endpoint:
        link = Uplink(endpoint, None, None, Deadline(5000))
        assert link.send_probe(1)
        assert until(lambda: link.has_echo(1))

    def broke() -> bool:
        try:
            return link.has_echo(1)
        except LinkLost:
            return True

    assert until(broke)
    assert not link.send_probe(2)
    assert not link.has_echo(2)  # the loss is told once
    link.close()
