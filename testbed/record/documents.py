"""The documents of `results/` as structs: what opens a cell, how its attempts went, and how it ended.

Whoever writes one of these builds the struct, and whoever reads one gets it back checked. What its nodes said is in
`testbed.record.noderecord`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from testbed.record.exits import Accumulate, Policy
from testbed.record.faults import FaultDocument, FaultRecord
from testbed.record.mode import ModeFacts, Sends
from testbed.record.noderecord import NodeRecord, NodeRepeat, Role
from testbed.record.scenario import ScenarioKind
from testbed.record.schedules import AutoSchedule, ChosenSchedule
from testbed.record.schema import ClockRecord
from testbed.runtime.artefact import ModelCard as ModelCard

State: TypeAlias = Literal["complete", "failed", "aborted"]


class CooldownDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How near a board has to be to its first temperature before a repeat, and how long that is waited for."""

    within_c: float
    at_most_s: float


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`attempt.json`, written last: this try measured its whole repeat.

    `requests` says for each edge how many rows its record holds; `nodes` is by participant. `seconds` is how long the
    attempt took, `min_duration_s` and `idle_s` are what its power sources asked for.
    """

    schema: int
    seconds: float
    requests: dict[str, int]
    min_duration_s: float
    idle_s: float
    clock: ClockRecord
    nodes: dict[str, NodeRepeat]
    faults: list[FaultRecord] = []


class FailureRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`failure.json` of an attempt that failed: when, which kind of error, and what it says."""

    schema: int
    t: str
    kind: str
    message: str


class CodeRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that measured: its version, a hash of its sources, the commit where there is one, the interpreter.

    `plugins` are the files that the experiment names in `plugins`, each with its SHA-256.
    """

    version: str
    sha256: str
    commit: str | None
    python: str
    plugins: dict[str, str] = {}


class DatasetRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The evaluation samples: how many there are, and the hash of the bundle that holds them."""

    name: str
    variant: str
    samples: int
    hash: str


class LinkRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked of the link (None: as it is), and whether the data plane was encrypted.

    `requested` is what `devices.links.load.describe` says of the link.
    """

    requested: dict[str, Any] | None = None
    curve: bool


class CellLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The link that a cell asks for: its name, the hash of its conditions, and who is to impose them."""

    name: str
    sha256: str
    shaping: Literal["auto", "user", "tc"]


class Invocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The command that measured, and the experiment's file."""

    argv: list[str]
    file: str


class ExitDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell's exit: one of `threshold` and `thresholds`, and where they come from if they were calibrated."""

    policy: Policy
    accumulate: Accumulate
    threshold: float | None = None
    thresholds: list[float] | None = None
    calibrated: dict[str, Any] | None = None


class ScenarioDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests arrive; `requests` is None where every sample is asked for once.

    `deadline_ms` is None where a request that is answered at all is not late. `target_qps` is a server's: how many
    requests arrive in a second, in the mean.
    """

    kind: ScenarioKind
    requests: int | None
    warmup: int
    timeout_ms: int
    deadline_ms: int | None = None
    target_qps: float | None = None


class CellDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell's configuration after everything was resolved; all fields but `position` and `baseline` decide its hash.

    `position` is the cell's place in the experiment. `baseline` says that the others are compared with this cell.
    `window` is how many timesteps may be unanswered, `chunks` how many are computed and sent together. With a
    `schedule` both are chosen by it, and each edge's repeats have them.
    `fallback` is the mode in which its edge answers by itself while the cloud is late or gone. `capture` says that its
    edges capture packets, which is work for them. `again` says that this is the baseline measured a second time.
    """

    mode: str
    model: str
    codec: str | None
    exit: ExitDocument | None
    scenario: ScenarioDocument
    idle_s: float
    seed: int
    curve: bool
    samples: int
    link: CellLink | None = None
    faults: list[FaultDocument] = []
    position: int
    baseline: bool
    window: int = 1
    chunks: list[int] | None = None
    schedule: AutoSchedule | None = None
    fallback: str | None = None
    capture: bool = False
    again: bool = False
    cooldown: CooldownDocument | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decided a cell's numbers; written before its first repeat, with facts added at its end.

    `title` is what the experiment asks, in a line; blank where its file says nothing. `cell` is the short hash of
    config, artefact, bundle, code and node profiles. `label` is for people. `mode_facts` says what there is to know of
    the cell's mode. `nodes` has those who take part in it, by id. `faults` are those that were played, by repeat.
    """

    schema: int
    experiment: str
    title: str = ""
    cell: str
    label: str
    mode_facts: ModeFacts
    codec: str | None
    exit: ExitDocument | None
    repeats: int
    config: CellDocument
    dataset: DatasetRef
    model: ModelCard
    code: CodeRef
    nodes: dict[str, NodeRecord]
    link: LinkRef
    faults: dict[str, list[FaultRecord]] = {}
    created: str
    invocation: Invocation | None = None

    @property
    def mode(self) -> str:
        """How requests are answered, by its name."""
        return self.mode_facts.name

    @property
    def sends(self) -> Sends:
        """What the edge sends to a cloud."""
        return self.mode_facts.sends

    @property
    def schedules(self) -> list[ChosenSchedule]:
        """The schedules that were chosen, by edge and repeat; an edge has one in all its repeats. Empty: none was."""
        told = [repeat.schedule for node in self.role("edge") for _, repeat in sorted(node.repeats.items())]
        return [schedule for schedule in told if schedule is not None]

    def role(self, role: Role) -> list[NodeRecord]:
        """The participants of a role, in the order of their ids; empty where the role takes no part."""
        return [self.nodes[name] for name in sorted(self.nodes) if self.nodes[name].role == role]


class Status(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a cell ended; written last and atomically as `status.json`.

    `valid` is None while the cell is not complete. `reasons` holds failures and, for a complete cell,
    the validity gates that it missed, each with its number and limit.
    """

    schema: int
    state: State
    valid: bool | None
    reasons: list[str]
    repeats_done: list[int]
