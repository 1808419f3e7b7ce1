"""A campaign as it is on disk, looked at again and again while it runs: it only reads, and each row once."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.campaign.following import AttemptRows
from testbed.campaign.present import Now, is_held, read_now
from testbed.errors import RecordError
from testbed.record.documents import AttemptRecord, Manifest, Status
from testbed.record.layout import AttemptFolder, CellFolder, ExperimentFolder
from testbed.record.reader import read_document

CLOCK_S = 1.0
"""How much earlier a file may seem to be made than it was: a file system's clock is coarse, and not this machine's."""


@dataclass(frozen=True)
class CellNow:
    """How far a cell is: its repeats that are measured, and how it ended where it did."""

    cell: str
    label: str
    done: int
    repeats: int
    ended: str


@dataclass(frozen=True)
class AttemptNow:
    """The attempt that was begun last: its numbers are of the rows that are on disk here.

    `exits` counts requests by the timestep they stopped at, `power_mw` is by node, source and rail, with its scope;
    `rtt_ms` and the rates are of the data path; `temperature_c` is by node, of the last repeat that a node ended.
    """

    label: str
    repeat: int
    repeats: int
    phase: str
    requests: int
    wanted: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    exits: dict[int, int]
    power_mw: dict[tuple[str, str, str, str], float]
    rtt_ms: float | None
    up_mbit_s: float | None
    down_mbit_s: float | None
    temperature_c: dict[str, float]


@dataclass(frozen=True)
class Seen:
    """A campaign at one moment; `now` is what its process says it does, `left_s` how long the rest may take."""

    running: bool
    now: Now | None
    cells: list[CellNow]
    attempt: AttemptNow | None
    left_s: float | None

    @property
    def of(self) -> int:
        """All repeats."""
        return sum(cell.repeats for cell in self.cells)

    @property
    def done(self) -> int:
        """Repeats that are measured."""
        return sum(cell.done for cell in self.cells)


@dataclass(frozen=True)
class _Try:
    """The last try at a repeat, or the one that measured all of it; `begun_s` is when something last came into it."""

    begun_s: float
    folder: AttemptFolder
    manifest: Manifest
    record: AttemptRecord | None

    @property
    def open(self) -> bool:
        """Whether it neither measured all nor failed: it is under way, or was killed."""
        return self.record is None and not self.folder.failure.exists()


class Watched:
    """The folder of a campaign that somebody watches."""

    def __init__(self, folder: Path) -> None:
        self._folder = ExperimentFolder(folder)
        self._manifests: dict[Path, tuple[int, Manifest]] = {}
        self._measured: dict[tuple[Path, int], _Try] = {}
        self._rows: AttemptRows | None = None
        if not self._folder.cells() and not is_held(self._folder):
            raise RecordError(f"{folder}: no such results; testbed run makes them")

    def look(self) -> Seen:
        """The campaign now.

        A document that is being written, or that another version wrote, is as if it were not there.
        """
        running, now = is_held(self._folder), read_now(self._folder)
        found = [(cell, manifest) for cell in self._folder.cells() if (manifest := self._manifest(cell)) is not None]
        found.sort(key=lambda one: one[1].config.position)
        cells, every = [], []
        seconds: dict[str, list[float]] = {}
        for cell, manifest in found:
            tries = [one for number in range(manifest.repeats) if (one := self._try(cell, manifest, number))]
            every += tries
            seconds[manifest.cell] = [one.record.seconds for one in tries if one.record is not None]
            done = len(seconds[manifest.cell])
            cells.append(CellNow(manifest.cell, manifest.label, done, manifest.repeats, _ended(cell)))
        latest = max(every, key=lambda one: (running and one.open, one.begun_s), default=None)
        if running and now is not None and not (latest and latest.open and latest.begun_s > now.attempt_s - CLOCK_S):
            latest = None  # the attempt that is under way has left nothing here yet
        attempt = None if latest is None else self._attempt(latest, _temperatures(every))
        return Seen(running, now, cells, attempt, _left(cells, seconds, now) if running else None)

    def _try(self, cell: CellFolder, manifest: Manifest, number: int) -> _Try | None:
        kept = self._measured.get((cell.path, number))
        if kept is not None:
            return kept
        attempts = cell.attempts(number)
        if not attempts:
            return None
        for attempt in attempts:
            if attempt.record.exists():
                with contextlib.suppress(RecordError, OSError):
                    record = read_document(attempt.record, AttemptRecord)
                    whole = _Try(attempt.path.stat().st_mtime, attempt, manifest, record)
                    return self._measured.setdefault((cell.path, number), whole)
        try:
            return _Try(attempts[-1].path.stat().st_mtime, attempts[-1], manifest, None)
        except OSError:  # it was moved aside just now
            return None

    def _manifest(self, cell: CellFolder) -> Manifest | None:
        try:
            written = cell.manifest.stat().st_mtime_ns
            kept = self._manifests.get(cell.path)
            if kept is None or kept[0] != written:
                kept = self._manifests[cell.path] = written, read_document(cell.manifest, Manifest)
        except (OSError, RecordError):
            return None
        return kept[1]

    def _attempt(self, latest: _Try, temperatures: dict[str, float]) -> AttemptNow:
        attempt, manifest = latest.folder, latest.manifest
        if self._rows is None or self._rows.folder != attempt:
            self._rows = AttemptRows(attempt)
        rows, scenario = self._rows, manifest.config.scenario
        rows.read([node.id for node in manifest.role("edge")])
        ordered = sorted(rows.latencies)
        up, down = rows.rates()
        return AttemptNow(
            label=manifest.label,
            repeat=int(attempt.path.parent.name.removeprefix("repeat-")),
            repeats=manifest.repeats,
            phase=rows.phase,
            requests=rows.requests,
            wanted=(scenario.requests or manifest.config.samples) * len(manifest.role("edge")),
            failed=rows.failed,
            p50_ms=_percentile(ordered, 50),
            p95_ms=_percentile(ordered, 95),
            exits=dict(sorted(rows.exits.items())),
            power_mw={key: statistics.fmean(mw for _, mw in samples) for key, samples in rows.power.items()},
            rtt_ms=next((row.rtt_ms for row in reversed(rows.network) if row.rtt_ms is not None), None),
            up_mbit_s=up,
            down_mbit_s=down,
            temperature_c={node: warm for node, warm in temperatures.items() if node in manifest.nodes},
        )


def _ended(cell: CellFolder) -> str:
    if not cell.status.exists():
        return ""
    try:
        status = read_document(cell.status, Status)
    except RecordError:
        return ""
    return status.state if status.valid is not False else "invalid"


def _temperatures(tries: Sequence[_Try]) -> dict[str, float]:
    """The warmest zone of each node at the end of the last repeat that it measured."""
    warm: dict[str, float] = {}
    for one in sorted(tries, key=lambda each: each.begun_s):
        for name, node in ({} if one.record is None else one.record.nodes).items():
            if zones := node.finished.facts.temperature_c:
                warm[name] = max(zones.values())
    return warm


def _left(cells: Sequence[CellNow], seconds: dict[str, list[float]], now: Now | None) -> float | None:
    """Seconds for what is not measured, from what is; None where nothing is, so nothing can be said."""
    every = [one for each in seconds.values() for one in each]
    if not every:
        return None
    usual = statistics.median(every)
    left = sum((cell.repeats - cell.done) * statistics.median(seconds[cell.cell] or [usual]) for cell in cells)
    under_way = 0.0 if now is None or not now.attempt_s else time.time() - now.attempt_s
    return max(0.0, left - min(under_way, usual))


def _percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None
