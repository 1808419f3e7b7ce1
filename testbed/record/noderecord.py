"""What a node says of itself in a repeat, and the record of all its repeats.

`HelloFacts`, `Loaded`, `Cooling`, `PathMeasured`, `Measured` and `Finished` travel from a worker to the orchestrator in
control messages, and stand in a cell's manifest as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from devices.base.power import Capability
from devices.power.sampler import SamplerReport
from devices.profile import Profile
from devices.schedule import Timekeeping
from testbed.record.schedules import ChosenSchedule, StageTimes

Role: TypeAlias = Literal["edge", "cloud"]


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
    device. `stages` says how long they take, where a schedule is chosen by it. `shaping` says how this node imposes the
    link's conditions; None where it has no part in that.
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
    were measured, `computed_before`, for how many of these by an earlier repeat, and `niceness`, that of its process
    while it was.
    """

    facts: BoardFacts
    written: dict[str, int] = {}
    settings: list[str] = []
    sampler: SamplerReport | None = None
    timekeeping: Timekeeping | None = None
    computed_ahead: int | None = None
    computed_before: int | None = None
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
