"""The control plane's messages: what the orchestrator asks of a worker, and what a worker answers.

MessagePack of one envelope. A worker answers a request with the request's sequence number; what it sends
unasked (`Hello`, `Heartbeat`, `Progress`, at times `Fault`) carries 0.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from devices.links.conditions import Link
from devices.profile import Profile
from testbed.errors import LinkError
from testbed.link.keys import KeyPair, Z85Key
from testbed.link.shaping.shaper import Disturbance, Shaping
from testbed.record import noderecord
from testbed.record.exits import Accumulate, Policy
from testbed.record.noderecord import HelloFacts, Role
from testbed.record.scenario import ScenarioKind
from testbed.record.schedules import AutoSchedule

CONTROL_SCHEMA = 8
MAX_CONTROL_BYTES = 4 * 1024 * 1024

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Confidence: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ExitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the edge stops: the confidence of the accumulated logits reaches its threshold (the paper's α).

    `thresholds` has one for each timestep but the last, which always exits.
    """

    policy: Policy
    accumulate: Accumulate
    thresholds: list[Confidence]


class CellConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one cell measures.

    A request is late after `deadline_ms`. The link is given up after `timeout_ms`. `fallback` is the mode in which the
    edge answers by itself while the cloud is late or gone.
    """

    mode: str
    timeout_ms: Positive
    deadline_ms: Positive | None = None
    codec: str | None = None
    exit: ExitConfig | None = None
    window: Positive = 1
    """How many timesteps may be unanswered."""
    chunks: list[Positive] | None = None
    """How many timesteps are computed and sent together; they add up to T."""
    schedule: AutoSchedule | None = None
    """Window and chunks are chosen by this, and the edge hears of them after it has loaded (`Follow`)."""
    faults: bool = False
    """Whether faults are played, so that losses are to be expected, and an edge that is killed goes on."""
    fallback: str | None = None

    @property
    def sizes(self) -> list[int]:
        """How many timesteps a call may be for, the fewest first."""
        return sorted(set(self.chunks or [1]) if self.schedule is None else set(self.schedule.sizes))


class Arrivals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When requests arrive. A server's come as a Poisson process of `target_qps` in a second, drawn from `seed`."""

    kind: ScenarioKind = "single_stream"
    target_qps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    seed: str = ""


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A message body; its class name is its tag on the wire."""


class AskShaping(_Body, frozen=True, kw_only=True):
    """Find out whether the kernel here can shape what goes to the peers, and change nothing. Answered by `CanShape`.

    `peers` are addresses or host names. `will_delay` says that a fault is going to add delay.
    """

    link: Link
    peers: list[str]
    role: Role
    will_delay: bool = False


class Load(_Body, frozen=True, kw_only=True):
    """Check the artefact, open the data plane, build sessions, open the record. Answered by `Loaded`.

    `shaping` is who imposes the link, `because` why it is not the kernel where that was left to choose. `peers` are the
    edges' IP addresses, for a cloud whose kernel shapes. `capture` asks an edge for a packet capture. An edge has the
    evaluation `bundle`, and an emulated cloud, to compute ahead.
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
    run: str = ""
    data_endpoint: str | None = None
    data_keys: KeyPair | None = None
    data_server_public: Z85Key | None = None
    allowed_clients: list[Z85Key] = []
    link: Link | None = None
    shaping: Shaping | None = None
    because: list[str] = []
    peers: list[str] = []
    capture: bool = False


class CoolDown(_Body, frozen=True, kw_only=True):
    """Wait until no thermal zone is warmer than it was by more than `within_c`. Answered by `CooledDown`.

    `as_warm_as` has °C by zone; it is empty before the first repeat, when nothing is waited for.
    """

    as_warm_as: dict[str, float]
    within_c: Annotated[float, msgspec.Meta(gt=0)]
    at_most_s: Annotated[float, msgspec.Meta(ge=0)]


class Follow(_Body, frozen=True, kw_only=True):
    """Answer requests by this schedule from now on. Answered by `Done`."""

    window: Positive
    chunks: list[Positive]


class ComputeAhead(_Body, frozen=True, kw_only=True):
    """Compute what these samples will ask of an emulated node: then its host only waits. Answered by `Done`.

    Where the schedule was chosen, `chunks` has how many timesteps edges take at a time, each way of it once.
    """

    samples: list[Count]
    chunks: list[list[Positive]] = []


class WarmUp(_Body, frozen=True, kw_only=True):
    """Run these samples and record nothing of them."""

    samples: list[Count]


class BeginLink(_Body, frozen=True, kw_only=True):
    """Begin the link's time anew with the next bytes from an edge. Answered by `Done`."""


class Disturb(_Body, frozen=True, kw_only=True):
    """Replace the link's present disturbance. Answered by `Done`."""

    disturbance: Disturbance


class CheckPath(_Body, frozen=True, kw_only=True):
    """Measure the path to the cloud against the link that was asked for. Answered by `PathChecked`."""

    when: Literal["before", "after"]


class Idle(_Body, frozen=True, kw_only=True):
    """Do nothing for a while, with the power sampler running."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]
    phase: str


class Measure(_Body, frozen=True, kw_only=True):
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


class Finish(_Body, frozen=True, kw_only=True):
    """Stop the sampler and close the record, so that its files can be collected. Answered by `Finished`."""


class Cancel(_Body, frozen=True, kw_only=True):
    """Finish the running request, then stop."""


class Complete(_Body, frozen=True, kw_only=True):
    """What `Cancel` was to end had come to its end: what is left of the repeat is done in full."""


class ClockPing(_Body, frozen=True, kw_only=True):
    """Asks for the worker's clock; `t1_ns` is the orchestrator's at sending."""

    t1_ns: int


class Bye(_Body, frozen=True, kw_only=True):
    """Exit."""


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line of JSON that a worker reads from its standard input: keys never stand on a command line.

    `node` is the id of the participant that it is: its end of the control plane has that identity, and the `node`
    columns of its record say it. `root` is the profile's: where the worker looks for what its board says of itself
    before a profile is loaded.
    """

    control_endpoint: str
    control_public: Z85Key
    keys: KeyPair
    node: str
    silence_s: Annotated[float, msgspec.Meta(gt=0)]
    """After how long without a word from the orchestrator the worker ends itself."""
    root: str = "/"


class Hello(_Body, frozen=True, kw_only=True):
    """A worker's first message: which participant it is and what it runs on."""

    node: str
    facts: HelloFacts


class CanShape(_Body, frozen=True, kw_only=True):
    """Why the kernel here cannot shape (empty: it can), and this node's own address towards its first peer."""

    reasons: list[str]
    address: str | None


class Loaded(_Body, frozen=True, kw_only=True):
    """The worker is ready. A cloud says where its data plane really listens."""

    data_endpoint: str | None
    detail: noderecord.Loaded


class CooledDown(_Body, frozen=True, kw_only=True):
    """How warm the node is now, and how long it waited."""

    detail: noderecord.Cooling


class PathChecked(_Body, frozen=True, kw_only=True):
    """The path has been measured."""

    detail: noderecord.PathMeasured


class Measured(_Body, frozen=True, kw_only=True):
    """The requests have been measured, as far as nobody cancelled them."""

    detail: noderecord.Measured


class Finished(_Body, frozen=True, kw_only=True):
    """The record is closed."""

    detail: noderecord.Finished


class Done(_Body, frozen=True, kw_only=True):
    """The request has been carried out."""


class Progress(_Body, frozen=True, kw_only=True):
    """How many of the running `Measure`'s requests are done."""

    done: Count
    total: Count


class Heartbeat(_Body, frozen=True, kw_only=True):
    """The sender lives; `t_ns` is its monotonic clock. Both sides send it."""

    t_ns: int


class ClockPong(_Body, frozen=True, kw_only=True):
    """Answers `ClockPing`: its `t1_ns`, and the worker's clock at reception and at reply.

    `wall_offset_ns` is the worker's wall clock less its monotonic one.
    """

    t1_ns: int
    t2_ns: int
    t3_ns: int
    wall_offset_ns: int


class Fault(_Body, frozen=True, kw_only=True):
    """The worker could not do what was asked, or cannot go on (sequence number 0). `kind` is the error's class name."""

    message: str
    kind: str


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
Answer: TypeAlias = Hello | CanShape | Loaded | CooledDown | PathChecked | Measured | Finished | Done
ToWorker: TypeAlias = Order | ClockPing | Heartbeat | Bye
FromWorker: TypeAlias = Answer | Progress | Heartbeat | ClockPong | Fault
Body: TypeAlias = ToWorker | FromWorker


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope."""

    schema: int = CONTROL_SCHEMA
    run: str
    seq: Count
    body: Body


class _Envelope(msgspec.Struct):
    # Read first, so that a peer of another version hears about the version and not about a field.
    schema: int
    run: str


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE = msgspec.msgpack.Decoder(_Envelope)
_MESSAGE = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Bytes of a control message.

    Raises:
        LinkError: it is larger than a peer would take, or holds what MessagePack cannot.
    """
    try:
        data = _ENCODER.encode(message)
    except (msgspec.MsgspecError, TypeError, OverflowError) as error:
        raise LinkError(f"{type(message.body).__name__} cannot be sent: {error}") from error
    if len(data) > MAX_CONTROL_BYTES:
        raise LinkError(
            f"{type(message.body).__name__} of {len(data)} bytes is larger than a control message may be "
            f"({MAX_CONTROL_BYTES})"
        )
    return data


def decode(data: bytes | memoryview, run: str) -> Message:
    """The control message in `data`, of this schema and this run.

    Raises:
        LinkError: too large, not a control message, of another schema version or of another run.
    """
    if len(data) > MAX_CONTROL_BYTES:
        raise LinkError(f"a control message of {len(data)} bytes; at most {MAX_CONTROL_BYTES} are taken")
    try:
        envelope = _ENVELOPE.decode(data)
        if envelope.schema != CONTROL_SCHEMA:
            raise LinkError(
                f"the peer speaks version {envelope.schema} of the control messages, this is "
                f"{CONTROL_SCHEMA}; deploy the same testbed on every node"
            )
        if envelope.run != run:
            raise LinkError(f"a control message of run {envelope.run!r} came to run {run!r}")
        return _MESSAGE.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise LinkError(f"not a control message: {error}") from error
