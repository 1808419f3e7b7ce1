"""The documents of `results/` as structs: what opens a cell, what its nodes said, and how it ended.

Whoever writes one of these builds the struct, and whoever reads one gets it back checked. The structs named
`...Facts`, `Loaded`, `Measured` and `Finished` also travel from a worker to the orchestrator in control messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from devices.base.power import Capability
from devices.power.sampler import SamplerReport
from devices.profile import Profile
from testbed.record.exits import Accumulate, Policy
from testbed.record.mode import ModeFacts, Sends
from testbed.record.schema import ClockRecord
from testbed.runtime.artefact import ModelCard as ModelCard

Role: TypeAlias = Literal["edge", "cloud"]
State: TypeAlias = Literal["complete", "failed", "aborted"]


class BoardFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine said of itself. `boot_id`, `throttle` and `temperature_c` are what a verdict rests on.

    `throttle` has counters and states by name, `temperature_c` °C by thermal zone; both are empty where the machine
    has none. `others` holds the rest of what `devices.board.identify` found, and in `absent` what it did not find.
    """

    boot_id: str | None = None
    throttle: dict[str, int] = {}
    temperature_c: dict[str, float] = {}
    others: dict[str, Any] = {}

    @classmethod
    def of(cls, identified: Mapping[str, Any]) -> BoardFacts:
        """The facts that `devices.board.identify` gives, with those that are read by name apart."""
        named = {name: identified[name] for name in ("boot_id", "throttle", "temperature_c") if name in identified}
        others = {name: value for name, value in identified.items() if name not in named}
        return cls(**named, others=others)


class HelloFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker is: its process, its interpreter, the versions of its libraries, and its board at the start."""

    pid: int
    python: str
    versions: dict[str, str]
    board: BoardFacts


class BackboneForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which exported form of the backbone a node runs, and what each form took when it was tried, in ms."""

    form: str
    trial_ms: dict[str, float]


class Loaded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node is ready with: its power sources as probed, and its form of the backbone where it runs it whole."""

    power: list[Capability] = []
    backbone: BackboneForm | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many requests an edge has measured; its record holds as many rows."""

    requests: int


class Finished(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node ended a repeat: its board before anything was put back, its settings, and how sampling went."""

    facts: BoardFacts
    settings: list[str] = []
    sampler: SamplerReport | None = None


class NodeRepeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a participant said of itself in one repeat."""

    hello: HelloFacts
    loaded: Loaded
    finished: Finished


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One participant of a cell. `id` is what the `node` columns of all tables say; `repeats` are by number."""

    id: str
    role: Role
    profile: Profile
    repeats: dict[str, NodeRepeat] = {}


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


class FailureRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`failure.json` of an attempt that failed: when, which kind of error, and what it says."""

    schema: int
    t: str
    kind: str
    message: str


class CodeRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that measured: its version, a hash of its sources, the commit where there is one, the interpreter."""

    version: str
    sha256: str
    commit: str | None
    python: str


class DatasetRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The evaluation samples: how many there are, and the hash of the bundle that holds them."""

    name: str
    variant: str
    samples: int
    hash: str


class LinkRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked of the link (None: as it is), and whether the data plane was encrypted."""

    requested: dict[str, Any] | None = None
    curve: bool


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
    """How requests arrive; `requests` is None where every sample is asked for once."""

    kind: str
    requests: int | None
    warmup: int
    timeout_ms: int


class CellDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell's configuration after everything was resolved; all but the last two fields decide its hash.

    `position` is the cell's place in the experiment. `baseline` says that the others are compared with this cell.
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
    position: int
    baseline: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decided a cell's numbers; written before its first repeat, with facts added at its end.

    `cell` is the short hash of config, artefact, bundle, code and node profiles. `label` is for people. `mode_facts`
    says what there is to know of the cell's mode. `nodes` has those who take part in it, by id.
    """

    schema: int
    experiment: str
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
