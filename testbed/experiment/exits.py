"""The `exit:` block of a cell: when the edge stops early."""

from __future__ import annotations

from typing import Annotated

import pydantic

from testbed.config import Strict
from testbed.errors import ExperimentError
from testbed.record.exits import Accumulate, Policy, threshold_count

Confidence = Annotated[float, pydantic.Field(ge=0, le=1)]


class Calibrate(Strict):
    """Thresholds from the validation samples: the earliest mean exit with at most `drop` points of accuracy lost."""

    drop: float = pydantic.Field(ge=0, le=100, description="points, against all T timesteps of the same network")
    policy: Policy = "max_softmax"
    accumulate: Accumulate = "mean"
    per_timestep: bool = False


class Exit(Strict):
    """When to stop: the confidence of the accumulated logits reaches a threshold (the paper's α).

    `threshold` is one for every timestep, `thresholds` one for each timestep but the last, which always exits;
    `calibrate` has either found on validation data when the experiment is planned.
    """

    policy: Policy = "max_softmax"
    accumulate: Accumulate = "mean"
    threshold: Confidence | None = None
    thresholds: Annotated[tuple[Confidence, ...], pydantic.Field(min_length=1, max_length=63)] | None = None
    calibrate: Calibrate | None = None

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Exit:
        if sum(source is not None for source in (self.threshold, self.thresholds, self.calibrate)) != 1:
            raise ValueError("an exit needs one of threshold, thresholds and calibrate")
        outside = self.model_fields_set & {"policy", "accumulate"}
        if self.calibrate is not None and outside:
            raise ValueError(f"{' and '.join(sorted(outside))}: write it inside calibrate")
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
