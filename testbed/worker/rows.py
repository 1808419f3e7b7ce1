"""What is recorded of a request: its row, and one for each timestep that was answered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from testbed.link.messages import ExitConfig
from testbed.link.uplink import Wire
from testbed.modes.request import Request
from testbed.record.exits import Accumulate, Floats, Policy, accumulate, confidence
from testbed.record.schema import Outcome, RequestRow, TimestepRow


class Ending(NamedTuple):
    """How and when a request ended; `reason` is None where it is ok. `wire` is None where it is not known."""

    outcome: Outcome
    reason: str | None
    t_start_ns: int
    t_end_ns: int
    wire: Wire | None


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
        accumulated = accumulate(np.stack([step.logits for step in request.steps]), how)
        confidences = confidence(accumulated, policy)
        if ending.outcome == "ok":
            prediction = int(accumulated[-1].argmax())
    row = RequestRow(
        request_id=request.number,
        node=facts.node,
        sample_index=facts.sample,
        repeat=facts.repeat,
        label=facts.label,
        prediction=prediction,
        outcome=ending.outcome,
        reason=ending.reason,
        exit_timestep=len(request.steps) if ending.outcome == "ok" else None,
        t_start_ns=ending.t_start_ns,
        t_end_ns=ending.t_end_ns,
        latency_ms=(ending.t_end_ns - ending.t_start_ns) / 1e6,
        edge_compute_ms=request.edge_ns / 1e6,
        encode_ms=request.encode_ns / 1e6,
        network_ms=request.network_ns / 1e6,
        cloud_compute_ms=request.cloud_ns / 1e6,
        payload_up_bytes=request.up_bytes,
        payload_down_bytes=request.down_bytes,
        wire_up_bytes=None if ending.wire is None else ending.wire.up_bytes,
        wire_down_bytes=None if ending.wire is None else ending.wire.down_bytes,
    )
    return row, _timesteps(request, facts, confidences)


def _timesteps(request: Request, facts: Facts, confidences: Floats) -> list[TimestepRow]:
    return [
        TimestepRow(
            request_id=request.number,
            node=facts.node,
            repeat=facts.repeat,
            timestep=number,
            logits=[float(value) for value in step.logits],
            confidence=float(confidences[number]),
            code_spikes=step.code_spikes,
            code_bits=step.code_bits,
            payload_bytes=step.payload_bytes,
            t_send_ns=step.t_send_ns,
            t_reply_ns=step.t_reply_ns,
            cloud_compute_ms=None if step.cloud_ns is None else step.cloud_ns / 1e6,
        )
        for number, step in enumerate(request.steps)
    ]
