"""The network while requests run: counters of the data connection and of the interfaces that it goes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Literal

from devices.base.rowlog import RowLog
from testbed.errors import WorkerError
from testbed.link.interfaces import InterfaceCounters, interface_to
from testbed.link.tcpinfo import Counters
from testbed.record.schema import NetworkRow

RATE_HZ = 20
"""Readings a second. Twice what a trace needs, so that one that is late leaves no gap."""

LOOK_S, LOOK_AGAIN_S = 1.0, 10.0
"""How often it is asked who the peers are: before the first is known, and after."""


class NetworkRecorder:
    """Appends to the network table from a thread of its own, from when it is made until `stop`.

    A connection that is down has no rows; those of the interfaces go on.
    """

    def __init__(
        self,
        log: RowLog,
        node: str,
        peers: Callable[[], Collection[str]],
        connection: Callable[[], Counters | None] | None = None,
        path: Literal["data", "hop"] = "data",
    ) -> None:
        """Begin to record.

        Args:
            log: where to.
            node: who records.
            peers: the IP addresses at the other end, asked for from time to time; each decides for an interface when
                it is seen first.
            connection: the counters of the data connection, None while it is down.
            path: what those are counters of: `hop` where a shaper in between is the connection's other end.
        """
        self.fault: str | None = None
        self._log, self._node, self._peers, self._connection, self._path = log, node, peers, connection, path
        self._known: set[str] = set()
        self._interfaces: dict[str, InterfaceCounters] = {}
        self._look_ns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that nothing has ended it but `stop`.

        Raises:
            WorkerError: something has.
        """
        if self.fault is not None:
            raise WorkerError(f"{self._node}: the network is not recorded any more: {self.fault}")

    def stop(self) -> None:
        """Take the last readings; more than once does no harm."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        period_ns = round(1e9 / RATE_HZ)
        due_ns = time.monotonic_ns()
        try:
            while not self._stop.is_set():
                self._record()
                # After a pause it goes on as it did before, and makes up for nothing.
                due_ns = max(due_ns + period_ns, time.monotonic_ns())
                self._stop.wait((due_ns - time.monotonic_ns()) / 1e9)
            self._record()
        except Exception as error:  # also a bug: whoever measures asks, and ends
            self.fault = str(error) or type(error).__name__
        finally:
            for interface in self._interfaces.values():
                interface.close()

    def _record(self) -> None:
        rows = []
        if self._connection is not None:
            t_ns = time.monotonic_ns()
            counters = self._connection()
            if counters is not None:
                rows.append(NetworkRow(node=self._node, t_ns=t_ns, interface=self._path, **counters._asdict()))
        self._look()
        for interface in self._interfaces.values():
            t_ns = time.monotonic_ns()
            sent, received = interface.read()
            rows.append(
                NetworkRow(
                    node=self._node,
                    t_ns=t_ns,
                    interface=f"if:{interface.name}",
                    tx_bytes=sent,
                    rx_bytes=received,
                    rtt_ms=None,
                    retransmits=0,
                )
            )
        if rows:
            self._log.append(*rows)

    def _look(self) -> None:
        """Find the interfaces of peers that are new."""
        now_ns = time.monotonic_ns()
        if now_ns < self._look_ns:
            return
        for address in set(self._peers()) - self._known:
            name = interface_to(address)
            if name not in self._interfaces:
                self._interfaces[name] = InterfaceCounters(name)
            self._known.add(address)
        self._look_ns = now_ns + round(1e9 * (LOOK_AGAIN_S if self._known else LOOK_S))
