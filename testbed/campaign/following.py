"""The rows of an attempt, followed while it is measured: each is read once, and what a screen shows of them is kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from devices.base.power import PowerRow
from testbed.record.layout import AttemptFolder
from testbed.record.schema import EventRow, NetworkRow, RequestRow

LAST_REQUESTS = 100
"""Requests that the percentiles are of."""
POWER_S, RATE_S = 1.0, 2.0
"""Seconds that a mean of power, and a rate of bytes, are over."""


class Tail:
    """The rows of a log that is still written to: each `new` gives those that came since."""

    def __init__(self, path: Path, row_type: type[Any]) -> None:
        self._path, self._at = path, 0
        self._decoder = msgspec.json.Decoder(row_type)

    def new(self) -> list[Any]:
        """The whole lines since the last look; none where the log is not there."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._at)
                read = log.read()
        except OSError:
            return []
        whole = read[: read.rfind(b"\n") + 1]
        self._at += len(whole)
        try:
            return list(self._decoder.decode_lines(whole))
        except msgspec.MsgspecError:  # a damaged line is for the collecting to complain of
            return []


_TABLES = {"events": EventRow, "requests": RequestRow, "power": PowerRow, "network": NetworkRow}


@dataclass
class AttemptRows:
    """What was read of one attempt so far."""

    folder: AttemptFolder
    tails: dict[Path, Tail] = field(default_factory=dict)
    phase: str = ""
    requests: int = 0
    failed: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LAST_REQUESTS))
    exits: Counter[int] = field(default_factory=Counter)
    power: dict[tuple[str, str, str, str], deque[tuple[int, float]]] = field(default_factory=dict)
    network: deque[NetworkRow] = field(default_factory=deque)

    def read(self, edges: Sequence[str]) -> None:
        """Take in what came since the last look."""
        for table, kind in _TABLES.items():
            for path in self.folder.all_rows(table):
                tail = self.tails.setdefault(path, Tail(path, kind))
                for row in tail.new():
                    if table != "events" or row.node in edges:
                        getattr(self, f"_{table}")(row)

    def _events(self, row: EventRow) -> None:
        if row.event == "phase":
            self.phase = str(row.detail.get("phase", ""))

    def _requests(self, row: RequestRow) -> None:
        self.requests += 1
        self.failed += row.outcome != "ok"
        self.latencies.append(row.latency_ms)
        if row.exit_timestep is not None:
            self.exits[row.exit_timestep] += 1

    def _power(self, row: PowerRow) -> None:
        samples = self.power.setdefault((row.node, row.source, row.rail, row.scope), deque())
        samples.append((row.t_ns, row.mw))
        while samples[0][0] < row.t_ns - POWER_S * 1e9:
            samples.popleft()

    def _network(self, row: NetworkRow) -> None:
        if row.interface != "data":
            return
        self.network.append(row)
        while len(self.network) > 2 and self.network[1].t_ns <= row.t_ns - RATE_S * 1e9:
            self.network.popleft()

    def rates(self) -> tuple[float | None, float | None]:
        """Mbit/s up and down over the last seconds; None before there are two looks at the counters."""
        if len(self.network) < 2 or (took := self.network[-1].t_ns - self.network[0].t_ns) <= 0:
            return None, None
        first, last = self.network[0], self.network[-1]
        return 8e3 * (last.tx_bytes - first.tx_bytes) / took, 8e3 * (last.rx_bytes - first.rx_bytes) / took
