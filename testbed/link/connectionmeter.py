"""Counts what this process's data connection carried, over connections that follow one another."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from testbed.errors import LinkError
from testbed.link.tcpinfo import Connection, Counters, Place, connection_to, read_counters, unmapped


class ConnectionMeter:
    """Reads the counters of this process's one TCP connection to an endpoint (`tcp://HOST:PORT`).

    They go on counting over connections that follow one another. The descriptor stays libzmq's: it is borrowed for each
    reading, since a duplicate would keep the connection open after libzmq has closed it. Any thread may read.

    Attributes:
        last: the counters of the last reading, whoever read.
        place: how far the connection of that reading was; None before the first.
        peer: the IP address at the other end.

    Raises:
        LinkError: there is not exactly one such connection.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._peers = _addresses(endpoint)
        self._given_up: set[int] = set()
        self._lost = False
        self._connection = self._only(self._found())
        if self._connection is None:
            raise LinkError(f"{endpoint}: {_wrong_number(0)}")
        self.peer = self._connection.peer
        self._before = self.last = Counters(0, 0, 0.0, 0, 0)
        self.place: Place | None = None

    def read(self) -> Counters:
        """The counters now; those of the last reading while there is no connection.

        Raises:
            LinkError: a connection was lost since this was called before, and with it what it still carried. Said once:
                later readings go on from the last one.
        """
        with self._lock:
            self._look()
            lost, self._lost = self._lost, False
            if lost:
                seen = _wrong_number(0) if self._connection is None else "it was lost and made anew"
                raise LinkError(f"{self.endpoint}: what the lost data connection carried is not known: {seen}")
            return self.last

    def glance(self) -> Counters | None:
        """The counters now, None while there is not one connection; what `read` has to say it says all the same."""
        with self._lock:
            try:
                self._look()
            except LinkError:
                return None  # several, until libzmq has closed what was given up
            return None if self._connection is None else self.last

    def give_up(self) -> None:
        """Count the present connection no further: whoever asked for it replaces it by another."""
        with self._lock:
            # libzmq closes it in its own time, until when the process has two. It may be one that was not read yet.
            self._given_up.update(connection.inode for connection in self._found())
            self._before, self._connection = self.last, None

    def _look(self) -> None:
        """Read the connection, and the one that follows it where it is over."""
        self._take()
        if self._connection is None:
            self._connection = self._only(self._found())
            self._take()

    def _take(self) -> None:
        """Read the connection, if there is one; one that has ended for the last time, so that nothing of it is lost."""
        if self._connection is None:
            return
        found = read_counters(self._connection)
        if found is not None:
            self.last = _added(self._before, found.counters)
            self.place = found.place
        if found is None or not found.goes_on:
            self._lost = self._lost or found is None
            self._given_up.add(self._connection.inode)
            self._before, self._connection = self.last, None

    def _found(self) -> list[Connection]:
        """The open connections that were not given up."""
        entries = Path("/proc/self/fd").iterdir()
        every = (connection_to(int(entry.name), self._peers) for entry in entries)
        return [one for one in every if one is not None and one.inode not in self._given_up]

    def _only(self, found: list[Connection]) -> Connection | None:
        """The connection, None if there is none."""
        if len(found) > 1:
            raise LinkError(f"{self.endpoint}: {_wrong_number(len(found))}")
        return found[0] if found else None


def _wrong_number(found: int) -> str:
    return f"this process has {found} TCP connections there, not one, so its traffic cannot be counted"


def _added(before: Counters, now: Counters) -> Counters:
    """The counters of a connection on top of those of the ones before it."""
    return Counters(
        before.tx_bytes + now.tx_bytes,
        before.rx_bytes + now.rx_bytes,
        now.rtt_ms,
        before.retransmits + now.retransmits,
        now.cwnd,
    )


def _addresses(endpoint: str) -> set[tuple[str, int]]:
    parts = urlsplit(endpoint)
    try:
        if parts.scheme != "tcp" or not parts.hostname or not parts.port:
            raise LinkError(f"{endpoint}: not a tcp://HOST:PORT endpoint")
        resolved = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise LinkError(f"{endpoint}: cannot be resolved: {error}") from error
    return {(unmapped(str(address[0])), int(address[1])) for *_, address in resolved}
