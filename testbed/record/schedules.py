"""A schedule that was chosen, and what it was chosen by; on the control plane and in manifests."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Ms = Annotated[float, msgspec.Meta(ge=0)]


class AutoSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a schedule before nodes say how fast they are.

    Attributes:
        exits: the shares of the validation samples that stop at timesteps 1..T; they add up to 1.
        sizes: how many timesteps a chunk may have.
    """

    exits: list[Share]
    sizes: list[Positive]


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call for so many timesteps takes."""

    timesteps: Positive
    ms: Ms


class StageTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a node takes, tried when it was loaded; on an emulated one its model says it.

    Attributes:
        calls: of the step graphs, one for each number of timesteps that there is a graph for.
        first_ms: of what is computed once for a request.
        code_ms: of making a payload of a timestep's code, or a code of a payload.
        message_bytes: of a typical code on the wire, framing included; an edge's.
        rtt_ms: what TCP has measured of the path to the cloud so far; an edge's, None where it does not say.
    """

    calls: list[Call] = []
    first_ms: Ms = 0.0
    code_ms: Ms = 0.0
    message_bytes: int = 0
    rtt_ms: Ms | None = None


class ChosenSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The schedule of an edge, and what is expected of it: means over the validation samples.

    Attributes:
        window: how many timesteps may be unanswered.
        chunks: how many are computed in one call and sent in one message.
        latency_ms: of a request.
        stop_and_wait_ms: likewise where each timestep is sent by itself and waited for.
        edge_ms: what the edge computes for a request.
        wasted_timesteps: how many of them it computes in vain.
    """

    window: Positive
    chunks: list[Positive]
    latency_ms: Ms
    stop_and_wait_ms: Ms
    edge_ms: Ms
    wasted_timesteps: Ms
