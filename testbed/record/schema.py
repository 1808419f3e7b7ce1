"""The rows of `results/`, with units in their names; its documents are in `testbed.record.documents`.

Times are integer nanoseconds of the recording node's monotonic clock. `None` means "does not apply",
never "was not measured but should have been": a missing sensor is an error.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 2
"""Raised whenever a reader of the version before would misread a row or a document."""

Outcome = Literal["ok", "timeout", "error"]


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One inference request, as its edge saw it. `node` is the id of that edge; ids of requests are unique within it.

    `network_ms` is the sum over timesteps of (round trip − cloud duration), so it needs no
    synchronised clocks. `wire_*_bytes` are what the kernel counted for the data connection:
    payload, header, ZMTP and CURVE framing, TCP and IP headers; None where the connection was lost,
    and its counters with it, since the request before. `reason` says why a request is not `ok`, else None.
    """

    request_id: int
    node: str
    sample_index: int
    repeat: int
    label: int
    prediction: int | None
    outcome: Outcome
    reason: str | None = None
    exit_timestep: int | None
    t_start_ns: int
    t_end_ns: int
    latency_ms: float
    edge_compute_ms: float
    encode_ms: float
    network_ms: float
    cloud_compute_ms: float
    payload_up_bytes: int
    payload_down_bytes: int
    wire_up_bytes: int | None
    wire_down_bytes: int | None


class TimestepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One timestep of one request of the edge `node`. `logits` are this timestep's own, not accumulated.

    `confidence` is that of the logits accumulated up to this timestep; `code_spikes` counts the ones
    among `code_bits`. Where nothing was sent for this timestep, the code and time fields are None.
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


class NetworkRow(msgspec.Struct, frozen=True, kw_only=True):
    """Cumulative counters of the data connection, as the node's kernel keeps them."""

    node: str
    t_ns: int
    interface: str
    tx_bytes: int
    rx_bytes: int
    rtt_ms: float | None
    retransmits: int


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
