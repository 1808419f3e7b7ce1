"""The rows of `results/`, with units in their names; its documents are in `testbed.record.documents`.

Times are integer nanoseconds of the recording node's monotonic clock. `None` means "does not apply",
never "was not measured but should have been": a missing sensor is an error.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from testbed.record.mode import Answerer

SCHEMA_VERSION = 2
"""Raised whenever a reader of the version before would misread a row or a document."""

Outcome = Literal["ok", "timeout", "error"]


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One inference request, as its edge saw it. `node` is the id of that edge; ids of requests are unique within it.

    `wait_ms` is the time in which something was under way and the edge neither computed nor encoded, `beside_ms` that
    in which it did. `network_ms` is what of `wait_ms` is not the cloud's: in stop-and-wait the sum over timesteps of
    (round trip − cloud duration). So it needs no synchronised clocks. `wasted_*` are of timesteps that were computed or
    sent and do not count in the answer; answers that came after their request had ended are added when rows are
    collected (`testbed.record.late`). `wire_*_bytes` are what the kernel counted for the data connection:
    payload, header, ZMTP and CURVE framing, TCP and IP headers; and in the collected table what a shaper in user space
    sent again of them (`testbed.record.resent`). None where the connection was lost,
    and its counters with it, since the request before. `frames_*` count the messages that these payloads were in, each
    with a header of 16 bytes, and END, which says that a request is over early and has none. `reason` says why a
    request is not `ok`, else None.
    `t_arrival_ns` is when the request was there to be answered, and `queue_ms` how long it then waited for its turn.
    They are None in `single_stream`, where it arrives when it begins. `latency_ms` runs from its arrival to its end.
    `answered_by` is whose output the prediction is: with a fallback it may be the edge's in a cell that asks its cloud.
    """

    request_id: int
    node: str
    sample_index: int
    repeat: int
    label: int
    prediction: int | None
    outcome: Outcome
    reason: str | None = None
    answered_by: Answerer | None = None
    exit_timestep: int | None
    t_arrival_ns: int | None = None
    t_start_ns: int
    t_end_ns: int
    latency_ms: float
    queue_ms: float | None = None
    edge_compute_ms: float
    encode_ms: float
    network_ms: float
    cloud_compute_ms: float
    payload_up_bytes: int
    payload_down_bytes: int
    frames_up: int | None = None
    frames_down: int | None = None
    wire_up_bytes: int | None
    wire_down_bytes: int | None
    wait_ms: float | None = None
    beside_ms: float | None = None
    wasted_timesteps: int | None = None
    wasted_edge_ms: float | None = None
    wasted_cloud_ms: float | None = None
    wasted_up_bytes: int | None = None
    wasted_down_bytes: int | None = None


class TimestepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One timestep of one request of the edge `node`. `logits` are this timestep's own, not accumulated.

    `confidence` is that of the logits accumulated up to this timestep; `code_spikes` counts the ones
    among `code_bits`. Where nothing was sent for this timestep, the code fields and those of sending are None.
    Timesteps that went in one message have its times, and equal shares of the cloud's.
    """

    request_id: int
    node: str
    repeat: int
    timestep: int
    logits: list[float]
    confidence: float
    code_spikes: int | None
    code_bits: int | None
    payload_bytes: int | None
    t_send_ns: int | None
    t_reply_ns: int | None
    cloud_compute_ms: float | None
    t_compute_ns: int | None = None
    t_computed_ns: int | None = None
    t_encode_ns: int | None = None
    t_encoded_ns: int | None = None
    t_sent_ns: int | None = None


class NetworkRow(msgspec.Struct, frozen=True, kw_only=True):
    """Cumulative counters of one way that bytes take.

    `interface` is `data` for the path between edge and cloud that messages really take, with the link's conditions
    imposed; `hop` for the data connection as far as a shaper in between, where there is one; `if:NAME` for a whole
    network interface, other traffic included. `cwnd` is TCP's congestion window in segments.
    """

    node: str
    t_ns: int
    interface: str
    tx_bytes: int
    rx_bytes: int
    rtt_ms: float | None
    retransmits: int
    cwnd: int | None = None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened on a node: a phase began, a frame was refused, a peer was turned away.

    `event` is `phase` (detail.phase: idle_before | warmup | measure | idle_after | end), `frame_refused`,
    `peer_refused`, `throttled`, ... ; `detail` holds what belongs to it.
    """

    node: str
    t_ns: int
    repeat: int
    event: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class ClockEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The node's monotonic clock minus the orchestrator's, with the bound half the best round trip gives.

    `t_ns` is the orchestrator's clock at the best exchange; `wall_offset_ns` the node's wall clock less its
    monotonic one, which only setting the wall clock changes.
    """

    node: str
    repeat: int
    when: Literal["before", "during", "after"]
    t_ns: int
    offset_ns: int
    bound_ns: int
    rtt_ns: int
    exchanges: int
    wall_offset_ns: int | None = None


class ClockLine(msgspec.Struct, frozen=True, kw_only=True):
    """The node's clock against the orchestrator's in one repeat, from all its estimates.

    At `t_ns` of the orchestrator the offset is `offset_ns` ± `bound_ns`, and it grows by `skew_ppm` ±
    `skew_bound_ppm`. Where no straight line runs through all estimates (`straight` false) the skew is the mean
    between the first and the last.
    """

    node: str
    repeat: int
    t_ns: int
    offset_ns: int
    bound_ns: int
    skew_ppm: float
    skew_bound_ppm: float
    straight: bool


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`clock.json`: what was exchanged, and what follows from it for each node and repeat."""

    estimates: list[ClockEstimate]
    lines: list[ClockLine]
