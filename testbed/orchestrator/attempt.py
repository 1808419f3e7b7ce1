"""One try at one repeat of one cell: all that an orchestrator needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from devices.links.conditions import Link
from testbed.experiment import Deadlines
from testbed.link import messages
from testbed.link.messages import Arrivals, CellConfig
from testbed.orchestrator.participants import Participant
from testbed.record.documents import CooldownDocument
from testbed.record.faults import FaultDocument
from testbed.record.layout import AttemptFolder
from testbed.record.metering import rest_s, window_s
from testbed.record.noderecord import Role
from testbed.record.schedules import ChosenSchedule

Phase = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, of how much."""

NodeStep = Callable[[str, str, int, int], None]
"""Told what is being done on a node that takes a while (nothing: it is done), how many bytes of it, of how many."""


@dataclass(frozen=True)
class Attempt:
    """What to measure, on whom, and where the record goes.

    Folders are on the workstation; `samples` index the bundle, and each edge runs all of them. Each edge has `arrivals`
    of its own, from a seed of its own.
    `as_warm_as` says of each node, in °C by zone, how warm it was before its first repeat. `schedules` has that of each
    edge, where earlier repeats of its cell have chosen one.
    """

    folder: AttemptFolder
    logs: Path
    repeat: int
    config: CellConfig
    participants: Sequence[Participant]
    artefact: Path
    artefact_hash: str
    bundle: Path
    bundle_hash: str
    samples: Sequence[int]
    warmup: Sequence[int]
    idle_s: float
    curve: bool
    deadlines: Deadlines
    arrivals: Arrivals = field(default_factory=Arrivals)
    link: Link | None = None
    shaping: Literal["auto", "user", "tc"] = "auto"
    capture: bool = False
    faults: Sequence[FaultDocument] = ()
    may_lose: int = 0
    cooldown: CooldownDocument | None = None
    as_warm_as: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    schedules: Mapping[str, ChosenSchedule] = field(default_factory=dict)

    def ids(self, role: Role) -> list[str]:
        """The participants of a role."""
        return [node.id for node in self.participants if node.role == role]


def shortest_s(attempt: Attempt, loaded: Mapping[str, messages.Loaded]) -> tuple[float, float]:
    """How long to rest and to measure at the least, in s: as asked for, or as the power sources need."""
    rests, windows = [attempt.idle_s], [0.0]
    for node in attempt.participants:
        for capability, spec in zip(loaded[node.id].detail.power, node.profile.power, strict=True):
            windows.append(window_s(capability.averaging_ms, spec.rate_hz))
            if node.role == "edge":  # the baseline of net energy is the edges' alone
                rests.append(rest_s(capability.averaging_ms, spec.rate_hz))
    return max(rests), max(windows)
