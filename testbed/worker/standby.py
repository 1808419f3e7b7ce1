"""The whole model that an edge holds beside its half, so that it can answer without its cloud."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from testbed.errors import WorkerError
from testbed.link.messages import Load
from testbed.modes import mode_named
from testbed.modes.ahead import Ahead
from testbed.modes.kit import Kit
from testbed.modes.mode import EdgeHalf
from testbed.record.noderecord import LoadedFallback
from testbed.runtime.artefact import ModelCard
from testbed.worker.station import Station


def load_standby(load: Load, card: ModelCard, station: Station, ahead: Ahead | None) -> tuple[EdgeHalf, LoadedFallback]:
    """The half of the mode that `load.config.fallback` names, and what it says of itself.

    It runs all T timesteps in the backbone's fastest form: the cell's exit was chosen for another network.

    Raises:
        WorkerError: that mode needs a cloud itself.
    """
    name = load.config.fallback or ""
    mode = mode_named(name)
    if mode.facts.cloud_part is not None:
        raise WorkerError(f"an edge cannot fall back on {name}, which needs the cloud")
    config = msgspec.structs.replace(
        load.config, mode=name, fallback=None, codec=None, exit=None, chunks=None, schedule=None
    )
    kit = Kit(Path(load.artefact), card, config, load.profile, station.tempo, ahead, station.outputs)
    before = _resident_bytes()
    half = mode.edge(kit)
    said = LoadedFallback(
        mode=name,
        backbone=kit.backbone_form,
        resident_bytes=max(0, _resident_bytes() - before),
        graphs=kit.graphs,
    )
    return half, said


def _resident_bytes() -> int:
    """Memory of this process that is in RAM (the second field of proc(5)'s statm, in pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
