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
from devices.schedule import Timekeeping
from testbed.record.exits import Accumulate, Policy
from testbed.record.faults import FaultDocument, FaultRecord
from testbed.record.mode import ModeFacts, Sends
from testbed.record.scenario import ScenarioKind
from testbed.record.schedules import AutoSchedule, ChosenSchedule, StageTimes
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
    """Which exported form of the backbone a node runs, and what each form took, in ms, where they were tried."""

    form: str
    trial_ms: dict[str, float]


class GraphForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On how many threads a graph is computed, whether they spin within a call, and what each way took, in ms.

    `trial_ms` is by the number of threads, with `spinning` behind it; empty where nothing was tried. `modelled_ms` is
    what a call takes by the model of an emulated node.
    """

    threads: int
    spinning: bool
    trial_ms: dict[str, float] = {}
    modelled_ms: float | None = None


class LoadedFallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an edge holds to answer without its cloud.

    `backbone` is None where the mode does not run it whole. `resident_bytes` is what the process's memory in RAM grew
    by while it was loaded and tried.
    """

    mode: str
    backbone: BackboneForm | None
    resident_bytes: int
    graphs: dict[str, GraphForm] = {}


class Loaded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node is ready with: its power sources as probed, its form of the backbone where it runs it whole.

    `graphs` says how each graph is computed, by its file, and `runtime` by what: the library with its version, its
    device. `stages` says how long they take, where a schedule is chosen by it. `shaping` says how this node
    imposes the link's conditions; None where it has no part in that.
    """

    power: list[Capability] = []
    backbone: BackboneForm | None = None
    graphs: dict[str, GraphForm] = {}
    runtime: dict[str, str] = {}
    stages: StageTimes | None = None
    shaping: Literal["user", "tc"] | None = None
    fallback: LoadedFallback | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many requests an edge has measured; its record holds as many rows. `whole`: nothing cut them short."""

    requests: int
    whole: bool


class Finished(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node ended a repeat: its board before anything was put back, its settings, and how sampling went.

    `written` has the bytes of each row log that it recorded, by table: a log of another size is not whole.
    `timekeeping` is an emulated node's. So are `computed_ahead`, for how many samples its part was computed before they
    were measured, and `niceness`, that of its process while it was.
    """

    facts: BoardFacts
    written: dict[str, int] = {}
    settings: list[str] = []
    sampler: SamplerReport | None = None
    timekeeping: Timekeeping | None = None
    computed_ahead: int | None = None
    niceness: int | None = None


class PathMeasured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The path between an edge and its cloud, as the edge found it just before or after its requests.

    `rtt_ms` is the median of several small round trips; rates are bytes of IP packets in a second. What is asked is
    what the link's conditions come to over the same time; None where they set no rate. `rtt_ms_unsure` is how long an
    acknowledgement takes each way, which may or may not stand in a probe's way, and two standard errors for jitter.
    `rates_unsure` is the share by which losses may have moved a rate; None where the link has none, or where a kernel's
    TCP gave way to them, so that nothing is known of a rate.
    """

    when: Literal["before", "after"]
    rtt_ms: float
    rtt_ms_asked: float
    rtt_ms_unsure: float
    up_bytes_per_s: float | None
    up_bytes_per_s_asked: float | None
    down_bytes_per_s: float | None
    down_bytes_per_s_asked: float | None
    lossy: bool
    tries: int
    rates_unsure: float | None = None


class CooldownDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How near a board has to be to its first temperature before a repeat, and how long that is waited for."""

    within_c: float
    at_most_s: float


class Cooling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node cooled down before a repeat: °C by zone at the end of it, and what they were to be.

    Both are empty where the node tells none; `as_warm_as` also is where this was its first repeat.
    """

    waited_s: float
    temperature_c: dict[str, float]
    as_warm_as: dict[str, float] = {}
    gave_up: bool = False


class NodeRepeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a participant said of itself in one repeat.

    `paths` is an edge's, where its cell has a link, and `schedule`, where it was chosen. `cooling` is None where nobody
    asked the node to cool down.
    """

    hello: HelloFacts
    loaded: Loaded
    finished: Finished
    paths: list[PathMeasured] = []
    cooling: Cooling | None = None
    schedule: ChosenSchedule | None = None


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
