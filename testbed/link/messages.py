"""The control plane's messages: what the orchestrator asks of a worker, and what a worker answers.

MessagePack of one envelope. A worker answers a request with the request's sequence number; what it sends
unasked (`Hello`, `Heartbeat`, `Progress`, at times `Fault`) carries 0.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from devices.profile import Profile
from testbed.errors import LinkError
from testbed.link.keys import KeyPair, Z85Key
from testbed.record import documents
from testbed.record.documents import HelloFacts, Role
from testbed.record.exits import Accumulate, Policy

CONTROL_SCHEMA = 4
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
    """What one cell measures."""

    mode: str
    timeout_ms: Positive
    codec: str | None = None
    exit: ExitConfig | None = None


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A message body; its class name is its tag on the wire."""


class Load(_Body, frozen=True, kw_only=True):
    """Check the artefact, open the data plane, build sessions, open the record. Answered by `Loaded`."""

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


class WarmUp(_Body, frozen=True, kw_only=True):
    """Run these samples and record nothing of them."""

    samples: list[Count]


class Idle(_Body, frozen=True, kw_only=True):
    """Do nothing for a while, with the power sampler running."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]
    phase: str


class Measure(_Body, frozen=True, kw_only=True):
    """Run these samples in order and record each; request ids count up from `first_request_id`.

    All of them are run again, in whole passes, until `min_duration_s` is over. Answered by `Measured`.
    """

    samples: list[Count]
    first_request_id: Count
    min_duration_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Finish(_Body, frozen=True, kw_only=True):
    """Stop the sampler and close the record, so that its files can be collected. Answered by `Finished`."""


class Cancel(_Body, frozen=True, kw_only=True):
    """Finish the running request, then stop."""


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


class Loaded(_Body, frozen=True, kw_only=True):
    """The worker is ready. A cloud says where its data plane really listens."""

    data_endpoint: str | None
    detail: documents.Loaded


class Measured(_Body, frozen=True, kw_only=True):
    """The requests have been measured, as far as nobody cancelled them."""

    detail: documents.Measured


class Finished(_Body, frozen=True, kw_only=True):
    """The record is closed."""

    detail: documents.Finished


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


ToWorker: TypeAlias = Load | WarmUp | Idle | Measure | Finish | Cancel | ClockPing | Heartbeat | Bye
FromWorker: TypeAlias = Hello | Loaded | Measured | Finished | Done | Progress | Heartbeat | ClockPong | Fault
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
