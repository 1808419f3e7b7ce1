"""What is recorded of a request: its row, and one for each timestep that was answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from testbed.link.messages import ExitConfig
from testbed.link.tcpinfo import Place
from testbed.link.uplink import Late, Wire
from testbed.modes.request import Request
from testbed.record.exits import Accumulate, Floats, Policy, accumulate, confidence
from testbed.record.late import LateRow
from testbed.record.mode import Answerer
from testbed.record.resent import StreamRow
from testbed.record.schema import Outcome, RequestRow, TimestepRow


class Ending(NamedTuple):
    """How and when a request ended; `reason` is None where it is ok. `wire` is None where it is not known.

    `by` is whose output the logits are. `t_arrival_ns` is None where it arrived when it began.
    """

    outcome: Outcome
    reason: str | None
    t_arrival_ns: int | None
    t_start_ns: int
    t_end_ns: int
    wire: Wire | None
    by: Answerer


class Facts(NamedTuple):
    """What is known of a request before it begins."""

    node: str
    repeat: int
    sample: int
    label: int


def rows_of(
    request: Request, facts: Facts, ending: Ending, rule: ExitConfig | None
) -> tuple[RequestRow, list[TimestepRow]]:
    """The rows of a request that has ended, with the confidences that the exit rule would see."""
    policy: Policy = "max_softmax" if rule is None else rule.policy
    how: Accumulate = "mean" if rule is None else rule.accumulate
    prediction: int | None = None
    confidences: Floats = np.zeros(0)
    if request.steps:
        logits = [step.logits for step in request.steps if step.logits is not None]
        accumulated = accumulate(np.stack(logits), how)
        confidences = confidence(accumulated, policy)
        if ending.outcome == "ok":
            prediction = int(accumulated[-1].argmax())
    queued_ns = None if ending.t_arrival_ns is None else ending.t_start_ns - ending.t_arrival_ns
    row = RequestRow(
        request_id=request.number,
        node=facts.node,
        sample_index=facts.sample,
        repeat=facts.repeat,
        label=facts.label,
        prediction=prediction,
        outcome=ending.outcome,
        reason=ending.reason,
        answered_by=ending.by if ending.outcome == "ok" else None,
        exit_timestep=len(request.steps) if ending.outcome == "ok" else None,
        t_arrival_ns=ending.t_arrival_ns,
        t_start_ns=ending.t_start_ns,
        t_end_ns=ending.t_end_ns,
        latency_ms=(ending.t_end_ns - ending.t_start_ns + (queued_ns or 0)) / 1e6,
        queue_ms=None if queued_ns is None else queued_ns / 1e6,
        edge_compute_ms=request.edge_ns / 1e6,
        encode_ms=request.encode_ns / 1e6,
        network_ms=max(0, request.waits.wait_ns - request.cloud_ns) / 1e6,
        cloud_compute_ms=request.cloud_ns / 1e6,
        payload_up_bytes=request.up_bytes,
        payload_down_bytes=request.down_bytes,
        frames_up=request.frames_up,
        frames_down=request.frames_down,
        wire_up_bytes=None if ending.wire is None else ending.wire.up_bytes,
        wire_down_bytes=None if ending.wire is None else ending.wire.down_bytes,
        wait_ms=request.waits.wait_ns / 1e6,
        beside_ms=request.waits.beside_ns / 1e6,
        wasted_timesteps=len(request.in_vain),
        wasted_edge_ms=sum(step.edge_ns for step in request.in_vain) / 1e6,
        wasted_cloud_ms=sum(step.cloud_ns or 0.0 for step in request.in_vain) / 1e6,
        wasted_up_bytes=sum(step.payload_bytes or 0 for step in request.in_vain),
        wasted_down_bytes=sum(step.down_bytes for step in request.in_vain),
    )
    return row, _timesteps(request, facts, confidences)


def streams_of(facts: Facts, request: int, begun: Place | None, ended: Place | None) -> list[StreamRow]:
    """Which parts of its edge's connections a request took, from where they were before it to where they are now."""
    if begun is None or ended is None:
        return []
    first = StreamRow(
        node=facts.node,
        repeat=facts.repeat,
        request_id=request,
        connection=begun.connection,
        up_from=begun.sent,
        up_to=ended.sent,
        down_from=begun.received,
        down_to=ended.received,
    )
    if ended.connection == begun.connection:
        return [first]
    last = msgspec.structs.replace(first, connection=ended.connection, up_from=0, down_from=0)
    return [msgspec.structs.replace(first, up_to=None, down_to=None), last]


def late_of(facts: Facts, late: Sequence[Late]) -> list[LateRow]:
    """What came for earlier requests of an edge while one ran."""
    return [
        LateRow(
            node=facts.node,
            repeat=facts.repeat,
            request_id=one.request,
            timestep=one.timestep,
            cloud_ns=one.cloud_ns,
            payload_bytes=one.payload_bytes,
        )
        for one in late
    ]


def _timesteps(request: Request, facts: Facts, confidences: Floats) -> list[TimestepRow]:
    return [
        TimestepRow(
            request_id=request.number,
            node=facts.node,
            repeat=facts.repeat,
            timestep=number,
            logits=[] if step.logits is None else [float(value) for value in step.logits],
            confidence=float(confidences[number]),
            code_spikes=step.code_spikes,
            code_bits=step.code_bits,
            payload_bytes=step.payload_bytes,
            t_send_ns=step.t_send_ns,
            t_reply_ns=step.t_reply_ns,
            cloud_compute_ms=None if step.cloud_ns is None else step.cloud_ns / 1e6,
            t_compute_ns=step.t_compute_ns,
            t_computed_ns=step.t_computed_ns,
            t_encode_ns=step.t_encode_ns,
            t_encoded_ns=step.t_encoded_ns,
            t_sent_ns=step.t_sent_ns,
        )
        for number, step in enumerate(request.steps)
    ]
