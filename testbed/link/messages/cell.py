"""What a worker is told of a cell: how requests are answered, when an edge stops, and when requests arrive."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from testbed.link.messages.body import Positive
from testbed.record.exits import Accumulate, Policy
from testbed.record.scenario import ScenarioKind
from testbed.record.schedules import AutoSchedule

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
