"""What the orchestrator asks of a worker; each order says how it is answered."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from devices.links.conditions import Link
from devices.profile import Profile
from testbed.link.keys import KeyPair, Z85Key
from testbed.link.messages.body import Count, Heartbeat, MessageBody, Positive
from testbed.link.messages.cell import Arrivals, CellConfig
from testbed.link.shaping.shaper import Disturbance, Shaping
from testbed.record.noderecord import Role


class AskShaping(MessageBody, frozen=True, kw_only=True):
    """Find out whether the kernel here can shape what goes to the peers, and change nothing. Answered by `CanShape`.

    `peers` are addresses or host names. `will_delay` says that a fault is going to add delay.
    """

    link: Link
    peers: list[str]
    role: Role
    will_delay: bool = False


class Load(MessageBody, frozen=True, kw_only=True):
    """Check the artefact, open the data plane, build sessions, open the record. Answered by `Loaded`.

    `shaping` is who imposes the link, `because` why it is not the kernel where that was left to choose. `peers` are the
    edges' IP addresses, for a cloud whose kernel shapes. `capture` asks an edge for a packet capture. An edge has the
    evaluation `bundle`, and an emulated cloud, to compute ahead. `outputs` is where an emulated node keeps what its
    graphs put out.
    """

    profile: Profile
    role: Role
    repeat: Count
    config: CellConfig
    artefact: str
    artefact_hash: str
    bundle: str | None
    bundle_hash: str | None
    out_dir: str
    outputs: str | None = None
    run: str = ""
    data_endpoint: str | None = None
    data_keys: KeyPair | None = None
    data_server_public: Z85Key | None = None
    allowed_clients: list[Z85Key] = msgspec.field(default_factory=list)
    link: Link | None = None
    shaping: Shaping | None = None
    because: list[str] = msgspec.field(default_factory=list)
    peers: list[str] = msgspec.field(default_factory=list)
    capture: bool = False


class CoolDown(MessageBody, frozen=True, kw_only=True):
    """Wait until no thermal zone is warmer than it was by more than `within_c`. Answered by `CooledDown`.

    `as_warm_as` has °C by zone; it is empty before the first repeat, when nothing is waited for.
    """

    as_warm_as: dict[str, float]
    within_c: Annotated[float, msgspec.Meta(gt=0)]
    at_most_s: Annotated[float, msgspec.Meta(ge=0)]


class Follow(MessageBody, frozen=True, kw_only=True):
    """Answer requests by this schedule from now on. Answered by `Done`."""

    window: Positive
    chunks: list[Positive]


class ComputeAhead(MessageBody, frozen=True, kw_only=True):
    """Compute what these samples will ask of an emulated node: then its host only waits. Answered by `Done`.

    Where the schedule was chosen, `chunks` has how many timesteps edges take at a time, each way of it once.
    """

    samples: list[Count]
    chunks: list[list[Positive]] = msgspec.field(default_factory=list)


class WarmUp(MessageBody, frozen=True, kw_only=True):
    """Run these samples and record nothing of them."""

    samples: list[Count]


class BeginLink(MessageBody, frozen=True, kw_only=True):
    """Begin the link's time anew with the next bytes from an edge. Answered by `Done`."""


class Disturb(MessageBody, frozen=True, kw_only=True):
    """Replace the link's present disturbance. Answered by `Done`."""

    disturbance: Disturbance


class CheckPath(MessageBody, frozen=True, kw_only=True):
    """Measure the path to the cloud against the link that was asked for. Answered by `PathChecked`."""

    when: Literal["before", "after"]


class Idle(MessageBody, frozen=True, kw_only=True):
    """Do nothing for a while, with the power sampler running."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]
    phase: str


class Measure(MessageBody, frozen=True, kw_only=True):
    """Run these samples in order and record each; request ids count up from `first_request_id`.

    All of them are run again, in whole passes, until `min_duration_s` is over. Answered by `Measured`. A worker that
    was killed and started again may `go_on`: with the request after the last one that the record knows to have begun.
    More than `may_lose` lost requests make the cell invalid, whatever its other repeats bring.
    """

    samples: list[Count]
    arrivals: Arrivals = Arrivals()
    first_request_id: Count
    go_on: bool = False
    may_lose: Count = 0
    min_duration_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Finish(MessageBody, frozen=True, kw_only=True):
    """Stop the sampler and close the record, so that its files can be collected. Answered by `Finished`."""


class Cancel(MessageBody, frozen=True, kw_only=True):
    """Finish the running request, then stop."""


class Complete(MessageBody, frozen=True, kw_only=True):
    """What `Cancel` was to end had come to its end: what is left of the repeat is done in full."""


class ClockPing(MessageBody, frozen=True, kw_only=True):
    """Asks for the worker's clock; `t1_ns` is the orchestrator's at sending."""

    t1_ns: int


class Bye(MessageBody, frozen=True, kw_only=True):
    """Exit."""


Order: TypeAlias = (
    AskShaping
    | Load
    | CoolDown
    | Follow
    | ComputeAhead
    | WarmUp
    | BeginLink
    | Disturb
    | CheckPath
    | Idle
    | Measure
    | Finish
    | Cancel
    | Complete
)
ToWorker: TypeAlias = Order | ClockPing | Heartbeat | Bye
