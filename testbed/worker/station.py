"""What the edge's and the cloud's work share: the record, the power sampler, and the time that computing takes."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from devices.activity import ActivityWriter
from devices.base.errors import DeviceError
from devices.base.rowlog import RowLog
from devices.board import identify
from devices.emulation import Slowdown, Tempo
from devices.machine import Machine
from devices.power.client import PowerSampler
from devices.power.sampler import SamplerReport
from devices.profile import Settings
from devices.settings.applied import AppliedSettings, put_back
from testbed.errors import WorkerError
from testbed.link.messages import Load, WorkerStart
from testbed.modes.kit import Kit
from testbed.record.documents import BackboneForm, BoardFacts, Finished, Loaded
from testbed.record.schema import EventRow


class Station:
    """A node during one repeat of one cell: where it records, what meters it, and how slow it is."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self.node, self.repeat, self.cancel = node, load.repeat, cancel
        self.folder = Path(load.out_dir)
        self._logs: dict[str, RowLog] = {}
        self._events_lock = threading.Lock()
        self._machine = Machine(Path(load.profile.root))
        self._settings: AppliedSettings | None = None
        if load.profile.settings != Settings():
            owner = f"run {load.run or '?'}, repeat {load.repeat}, as {node}"
            self._settings = AppliedSettings(self._machine, load.profile.settings, owner)
            _made.append(self._settings)
            self.event("settings", changes=self._settings.changes)
        emulates = load.profile.emulates
        self._activity = None if emulates is None else ActivityWriter(self.folder / "activity")
        self.tempo = Tempo(Slowdown(1.0 if emulates is None else emulates.slowdown), self._activity)
        self._sampler: PowerSampler | None = None
        if load.profile.power:
            self._sampler = PowerSampler.start(
                load.profile, node, self.folder / "power.jsonl", self.folder / "activity"
            )

    def loaded(self, kit: Kit) -> Loaded:
        """What the node's power sources said of themselves, and in which form the backbone runs here, if it does."""
        backbone = kit.loaded_backbone
        return Loaded(
            power=[] if self._sampler is None else self._sampler.capabilities,
            backbone=None if backbone is None else BackboneForm(form=backbone.form, trial_ms=backbone.trial_ms),
        )

    def log(self, table: str) -> RowLog:
        """The row log of a table, opened when first asked for."""
        if table not in self._logs:
            self._logs[table] = RowLog(self.folder / f"{table}.jsonl")
        return self._logs[table]

    def event(self, name: str, **detail: Any) -> None:
        """Record an event, now; from any thread."""
        row = EventRow(node=self.node, t_ns=time.monotonic_ns(), repeat=self.repeat, event=name, detail=detail)
        with self._events_lock:
            self.log("events").append(row)

    def phase(self, name: str) -> None:
        """Record that a phase begins."""
        self.event("phase", phase=name)

    def idle(self, seconds: float, phase: str) -> None:
        """Do nothing, metered, for a while."""
        self.phase(phase)
        self.cancel.wait(seconds)

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
        facts = BoardFacts.of(identify(self._machine.root))
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
        return Finished(facts=facts, settings=changes, sampler=sampled)


_made: list[AppliedSettings] = []
"""What this process has set on its board, for however it ends; a worker has one station after the other."""


def restore_settings() -> None:
    """Put back whatever this process has set; what cannot be is said on standard error and stays in the journal."""
    while _made:
        try:
            _made.pop().restore()
        except DeviceError as error:  # noqa: PERF203  (the others are still put back)
            print(f"testbed.worker: {error}", file=sys.stderr)


def put_back_left_behind(start: WorkerStart) -> None:
    """Put back what earlier runs left changed on this node.

    Raises:
        DeviceError: something stays changed, so nothing should be measured.
    """
    for line in put_back(Machine(Path(start.root))):
        print(f"testbed.worker: {line}", file=sys.stderr)
