"""The `exit:` block of a cell: when the edge stops early."""

from __future__ import annotations

from typing import Annotated

import pydantic

from testbed.config import Strict, any_of
from testbed.errors import ExperimentError
from testbed.record.exits import Accumulate, policy_names, threshold_count

_POLICY = "how confidence is taken from the logits; inside `calibrate` where that is"
_ACCUMULATE = "how the logits of the timesteps so far are put together; inside `calibrate` where that is"


def _known(name: str) -> str:
    if name not in policy_names():
        raise ValueError(f"expected {any_of(policy_names())}")
    return name


Policy = Annotated[str, pydantic.AfterValidator(_known)]
Confidence = Annotated[float, pydantic.Field(ge=0, le=1)]


class Calibrate(Strict):
    """Thresholds from the validation samples: the earliest mean exit with at most `drop` points of accuracy lost."""

    drop: float = pydantic.Field(
        ge=0, le=100, description="accuracy that an exit may cost, against all T timesteps of the same network"
    )
    policy: Policy = pydantic.Field("max_softmax", description=_POLICY)
    accumulate: Accumulate = pydantic.Field("mean", description=_ACCUMULATE)
    per_timestep: bool = pydantic.Field(default=False, description="an α for each timestep but the last")


class Exit(Strict):
    """When to stop: the confidence of the accumulated logits reaches a threshold (the paper's α).

    `threshold` is one for every timestep, `thresholds` one for each timestep but the last, which always exits;
    `calibrate` has either found on validation data when the experiment is planned.
    """

    policy: Policy = pydantic.Field("max_softmax", description=_POLICY)
    accumulate: Accumulate = pydantic.Field("mean", description=_ACCUMULATE)
    threshold: Confidence | None = pydantic.Field(None, description="the paper's α, one for every timestep")
    thresholds: Annotated[tuple[Confidence, ...], pydantic.Field(min_length=1, max_length=63)] | None = pydantic.Field(
        None, description="or one for each timestep but the last, which always exits"
    )
    calibrate: Calibrate | None = pydantic.Field(
        None, description="or found on validation samples: the earliest mean exit that costs so little"
    )

    replay: bool = pydantic.Field(
        default=False,
        description="not measured: decided over the timesteps of the same cell without exit, which is measured once; "
        "its latency and energy are predicted, in replay.csv",
    )

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Exit:
        if sum(source is not None for source in (self.threshold, self.thresholds, self.calibrate)) != 1:
            raise ValueError("an exit needs one of threshold, thresholds and calibrate")
        outside = self.model_fields_set & {"policy", "accumulate"}
        if self.calibrate is not None and outside:
            raise ValueError(f"{' and '.join(sorted(outside))}: write it inside calibrate")
        if self.calibrate is not None and self.replay:
            raise ValueError("replay: true takes threshold or thresholds; a calibrated exit is measured")
        return self

    def at(self, timesteps: int) -> list[float]:
        """The thresholds of timesteps 1..T-1 of a model with so many timesteps.

        Raises:
            ExperimentError: `thresholds` has another number of them.
        """
        if self.thresholds is None:
            return [] if self.threshold is None else [self.threshold] * (timesteps - 1)
        if len(self.thresholds) != timesteps - 1:
            raise ExperimentError(threshold_count(len(self.thresholds), timesteps))
        return list(self.thresholds)
