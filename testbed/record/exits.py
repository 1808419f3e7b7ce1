"""When an output is confident enough to stop: the rule that the edge applies and that analysis replays.

It lives beside the schema because the recorded `confidence` column means exactly this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Policy: TypeAlias = Literal["max_softmax", "entropy", "margin"]
Accumulate: TypeAlias = Literal["mean", "sum"]
Floats: TypeAlias = NDArray[np.floating[Any]]


def accumulate(logits: Floats, how: Accumulate = "mean") -> Floats:
    """Accumulate per-timestep logits [T, ..., K] over timesteps: entry t covers timesteps 0..t.

    A mean keeps the softmax temperature the same at every timestep; a sum sharpens with t: softmax(sum) after t
    timesteps is softmax(t · mean), so logits that repeat themselves grow surer with the sum and not with the mean.
    Both have the same argmax, so the answer at a given timestep does not depend on it; when to stop does.
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
    # Rounding leaves a flat distribution a hair below 0, where no threshold could reach it.
    return np.asarray(np.clip(1.0 + (p * log_p).sum(axis=-1) / np.log(p.shape[-1]), 0.0, 1.0))


def exit_timestep(confidences: Floats, thresholds: float | Sequence[float]) -> NDArray[np.int64]:
    """First timestep (counted from 1) whose confidence reaches its threshold, for confidences [T, ...].

    One threshold stands for every timestep; a sequence has one for each timestep but the last, which always exits.

    Raises:
        ValueError: there are not T − 1 thresholds.
    """
    values = np.asarray(confidences)
    alphas = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    last = len(values) - 1
    if np.ndim(thresholds) and len(alphas) != last:
        raise ValueError(threshold_count(len(alphas), len(values)))
    reached = np.ones(values.shape, dtype=bool)
    reached[:last] = values[:last] >= alphas.reshape((-1,) + (1,) * (values.ndim - 1))
    return np.asarray(np.argmax(reached, axis=0) + 1, dtype=np.int64)


def threshold_count(found: int, timesteps: int) -> str:
    """What to say of a list of thresholds that does not fit a model's T timesteps."""
    return (
        f"{found} exit thresholds for a model of T={timesteps} timesteps; give {timesteps - 1}, one for each timestep "
        "but the last, which always exits"
    )
