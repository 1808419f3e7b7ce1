"""When an output is confident enough to stop: the rule that the edge applies and that analysis replays.

It lives beside the schema because the recorded `confidence` column means exactly this.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Policy: TypeAlias = Literal["max_softmax", "entropy", "margin"]
Accumulate: TypeAlias = Literal["mean", "sum"]
Floats: TypeAlias = NDArray[np.floating[Any]]


def accumulate(logits: Floats, how: Accumulate = "mean") -> Floats:
    """Accumulate per-timestep logits [T, ..., K] over timesteps: entry t covers timesteps 0..t.

    A mean keeps the softmax temperature the same at every timestep; a sum sharpens with t.
    """
    total = np.cumsum(logits, axis=0, dtype=np.float64)
    if how == "sum":
        return total
    steps = np.arange(1, len(logits) + 1, dtype=np.float64)
    return np.asarray(total / steps.reshape((-1,) + (1,) * (total.ndim - 1)))


def confidence(accumulated: Floats, policy: Policy = "max_softmax") -> Floats:
    """Confidence in [0, 1] of accumulated logits [..., K], along the last axis.

    `max_softmax`: the largest softmax probability; `margin`: the largest minus the second largest;
    `entropy`: 1 − H(p)/log K, so that more is surer in each of the three.
    """
    values = np.asarray(accumulated, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=-1, keepdims=True)
    if policy == "max_softmax":
        return np.asarray(p.max(axis=-1))
    if policy == "margin":
        top = np.sort(p, axis=-1)
        return np.asarray(top[..., -1] - top[..., -2])
    log_p = np.log(p, where=p > 0, out=np.zeros_like(p))
    return np.asarray(1.0 + (p * log_p).sum(axis=-1) / np.log(p.shape[-1]))


def exit_timestep(confidences: Floats, threshold: float) -> NDArray[np.int64]:
    """First timestep (counted from 1) whose confidence reaches the threshold, else T, for confidences [T, ...]."""
    reached = np.asarray(confidences) >= threshold
    first = np.argmax(reached, axis=0) + 1
    return np.where(reached.any(axis=0), first, len(reached)).astype(np.int64)
