"""What the edge's and the cloud's work share: the record, the power sampler, and the node's time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devices.activity import Activity, ActivityWriter
from devices.base.rowlog import RowLog
from devices.board import identify
from devices.emulation import EmulatedRadio, EmulatedTempo, Traffic
from devices.machine import Machine
from devices.power.client import PowerSampler
from devices.power.emulated import EmulatedPower
from devices.power.sampler import SamplerReport
from devices.priority import come_first
from devices.profile import Settings
from devices.radios import Radio, radio_of
from devices.settings.applied import AppliedSettings, put_back
from devices.tempo import RealTempo, Tempo
from testbed.errors import TestbedError, WorkerError
from testbed.link.messages import Load, WorkerStart
from testbed.link.shaping.shaper import Shaping
from testbed.modes.kit import Kit
from testbed.record.noderecord import BoardFacts, Finished, Loaded
from testbed.record.schema import EventRow
from testbed.runtime.keptoutputs import KeptOutputs


class Station:
    """A node during one repeat of one cell: where it records, what meters it, and how its time passes."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self.node, self.repeat, self.cancel = node, load.repeat, cancel
        self.folder = Path(load.out_dir)
        self._logs: dict[str, RowLog] = {}
        self._logs_lock = threading.Lock()
        self.machine = Machine(Path(load.profile.root))
        self._settings: AppliedSettings | None = None
        if load.profile.settings != Settings():
            owner = f"run {load.run or '?'}, repeat {load.repeat}, as {node}"
            self._settings = AppliedSettings(self.machine, load.profile.settings, owner)
            self.undo_at_the_end(self._settings.restore)
            self.event("settings", changes=self._settings.changes)
        emulates = load.profile.emulates
        self.tempo: Tempo = RealTempo()
        self.outputs = KeptOutputs(None if emulates is None or load.outputs is None else Path(load.outputs))
        self._activity: ActivityWriter | None = None
        self._emulated: EmulatedTempo | None = None
        if emulates is not None:
            self._activity = ActivityWriter(self.folder / "activity")
            processor = Activity.GPU if emulates.processor == "gpu" else Activity.CPU
            self.tempo = self._emulated = EmulatedTempo(self._activity, processor)
        self._niceness: int | None = None
        self._radio = _radio(load)
        self._sampler: PowerSampler | None = None
        if load.profile.power:
            self._sampler = PowerSampler.start(
                load.profile, node, self.folder / "power.jsonl", self.folder / "activity", radio=self._radio
            )

    def send_over(self, traffic: Callable[[], Traffic | None]) -> None:
        """Have an emulated edge's radio follow a connection; on any other node nothing is done."""
        if self._radio is not None and self._activity is not None and self._emulated is not None:
            self._emulated.radio = EmulatedRadio(self._radio, self._activity, traffic)

    def undo_at_the_end(self, undo: Callable[[], object]) -> None:
        """Have something undone when this worker ends, however it ends; also if it has been by then."""
        _made.append(undo)

    def loaded(self, kit: Kit, shaping: Shaping | None) -> Loaded:
        """What the node's power sources said of themselves, how the graphs run here, and who shapes the link."""
        return Loaded(
            power=[] if self._sampler is None else self._sampler.capabilities,
            backbone=kit.backbone_form,
            graphs=kit.graphs,
            runtime=kit.runtime_told,
            stages=kit.stages,
            shaping=shaping,
        )

    def log(self, table: str) -> RowLog:
        """The row log of a table, opened when first asked for; from any thread."""
        with self._logs_lock:
            if table not in self._logs:
                self._logs[table] = RowLog(self.folder / f"{table}.jsonl")
            return self._logs[table]

    def event(self, name: str, **detail: Any) -> None:
        """Record an event, now; from any thread."""
        row = EventRow(node=self.node, t_ns=time.monotonic_ns(), repeat=self.repeat, event=name, detail=detail)
        self.log("events").append(row)

    def phase(self, name: str) -> None:
        """Record that a phase begins."""
        self.event("phase", phase=name)

    def idle(self, seconds: float, phase: str) -> None:
        """Do nothing, metered, for a while.

        An emulated radio is off at once. Its tail belongs to the messages before, not to the baseline, and a baseline
        with part of a tail would be neither. On a board one would have to wait for the tail's end first.
        """
        self.tempo.sleep()
        self.phase(phase)
        self.cancel.wait(seconds)

    @contextmanager
    def recalling(self) -> Iterator[None]:
        """Have an emulated node's graphs take what they put out in earlier repeats; what is wrong with it is told."""
        with self.outputs.used():
            yield
        for said in self.outputs.said:
            self.event("outputs_not_kept", message=said)

    def come_first(self) -> None:
        """Have an emulated node's process run before others', so that it is on time; others are as they are used."""
        if self._emulated is not None:
            self._niceness = come_first()

    def check_sampler(self) -> None:
        """Make sure that power is still being sampled.

        Raises:
            DeviceError: it is not, with the sampler's reason.
        """
        if self._sampler is not None and not self._sampler.alive:
            self._sampler.stop()
            raise WorkerError(f"{self.node}: the power sampler ended before the measurement did")

    def finish(self) -> Finished:
        """Stop the sampler, close the record, put the settings back; says how the sampling went and how the board is.

        Raises:
            DeviceError: the sampler had failed, or a setting could not be put back.
        """
        # Before anything is put back: the clocks and temperatures that were measured under.
        facts = BoardFacts.of(identify(self.machine.root))
        changes = [] if self._settings is None else self._settings.changes
        sampled: SamplerReport | None = None
        if self._sampler is not None:
            sampled = self._sampler.stop()
            self._sampler = None
        if self._activity is not None:
            self._activity.close()
            self._activity = None
            (self.folder / "activity").unlink(missing_ok=True)
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        if self._settings is not None:
            self._settings.restore()
            self._settings = None
        written = {path.stem: path.stat().st_size for path in self.folder.glob("*.jsonl")}
        kept = None if self._emulated is None else self._emulated.told()
        return Finished(
            facts=facts, settings=changes, sampler=sampled, written=written, timekeeping=kept, niceness=self._niceness
        )


def _radio(load: Load) -> Radio | None:
    """What an emulated edge sends with; None on every other node, and where no cloud takes part."""
    models = [spec for spec in load.profile.power if isinstance(spec, EmulatedPower)]
    if load.role != "edge" or load.data_endpoint is None or not models:
        return None
    return radio_of(load.link, models[0].radio_mw, models[0].reference)


_made: list[Callable[[], object]] = []
"""What undoes what this process has changed on its board; a worker has one station after the other."""


def undo_changes() -> None:
    """Put back whatever this process has changed; what cannot be is said on standard error and stays in the journal."""
    while _made:
        try:
            _made.pop()()
        except TestbedError as error:  # noqa: PERF203  (the others are still put back)
            print(f"testbed.worker: {error}", file=sys.stderr)


def put_back_left_behind(start: WorkerStart) -> None:
    """Put back what earlier runs left changed on this node.

    Raises:
        DeviceError: something stays changed, so nothing should be measured.
    """
    for line in put_back(Machine(Path(start.root))):
        print(f"testbed.worker: {line}", file=sys.stderr)
