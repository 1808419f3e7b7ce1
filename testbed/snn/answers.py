"""What a network says of every test sample after each timestep, and where it would stop."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.record.exits import accumulate, confidence, exit_timestep

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]


class Answers:
    """What a network says of every test sample after each timestep."""

    def __init__(self, logits: NDArray[np.float32], labels: Ints) -> None:
        mean = accumulate(logits)
        self.right: Bools = np.asarray(mean.argmax(axis=-1) == labels)
        self.sure = confidence(mean)

    def exits(self, threshold: float | None) -> Ints:
        """The timestep (from 1) that each sample stops at."""
        steps, count = self.right.shape
        return np.full(count, steps) if threshold is None else exit_timestep(self.sure, threshold)

    def answered(self, exits: Ints) -> Bools:
        """Whether the answer at each sample's exit is right."""
        return np.asarray(self.right[exits - 1, np.arange(len(exits))])
