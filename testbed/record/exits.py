"""When an output is confident enough to stop: the rule that the edge applies and that analysis replays.

It lives beside the schema because the recorded `confidence` column means exactly this. A package or a file adds a
policy of its own in the group `testbed.exit_policies` (devices/base/plugins.py). Edges, calibration and replay all ask
it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from devices.base.errors import TestbedError
from devices.base.plugins import called, registry, with_plugins
from devices.base.sourcefile import kind_and_text

Policy: TypeAlias = str
"""A name of `policies`."""

Accumulate: TypeAlias = Literal["mean", "sum"]
Floats: TypeAlias = NDArray[np.floating[Any]]


Confidence: TypeAlias = "Callable[[Floats], Floats]"
"""Confidences [...] in 0..1 of accumulated logits float64 [..., K]; more is surer."""

GROUP = "testbed.exit_policies"


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


def max_softmax(accumulated: Floats) -> Floats:
    """The largest softmax probability."""
    return np.asarray(_softmax(accumulated).max(axis=-1))


def entropy(accumulated: Floats) -> Floats:
    """1 − H(p)/log K of the softmax, so that more is surer."""
    p = _softmax(accumulated)
    log_p = np.log(p, where=p > 0, out=np.zeros_like(p))
    # Rounding leaves a flat distribution a hair below 0, where no threshold could reach it.
    return np.asarray(np.clip(1.0 + (p * log_p).sum(axis=-1) / np.log(p.shape[-1]), 0.0, 1.0))


def margin(accumulated: Floats) -> Floats:
    """The largest softmax probability minus the second largest."""
    top = np.sort(_softmax(accumulated), axis=-1)
    return np.asarray(top[..., -1] - top[..., -2])


def _softmax(accumulated: Floats) -> Floats:
    p = np.exp(accumulated - accumulated.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


POLICIES: dict[str, Confidence] = {"max_softmax": max_softmax, "entropy": entropy, "margin": margin}


@registry
def policies() -> Mapping[str, Confidence]:
    """Name → policy, the testbed's own first; what others add is looked for once.

    Raises:
        TestbedError: what somebody adds is no function, cannot be loaded, or takes a name that is the testbed's own.
    """
    found = with_plugins(GROUP, POLICIES)
    for name, policy in found.items():
        if not callable(policy):
            raise TestbedError(f"{called(GROUP, name)} is no function of accumulated logits (docs/extending.md)")
    return found


def policy_names() -> tuple[str, ...]:
    """The names that `policy:` may have in an experiment."""
    return tuple(policies())


def confidence(accumulated: Floats, policy: Policy = "max_softmax") -> Floats:
    """Confidence in [0, 1] of accumulated logits [..., K], along the last axis.

    Raises:
        TestbedError: there is no such policy, or it gives something else than a number in [0, 1] for each.
    """
    values = np.asarray(accumulated, dtype=np.float64)
    if policy not in policies():
        raise TestbedError(f"no exit policy is named {policy!r}; there is {', '.join(policies())}")
    if policy in POLICIES:
        return POLICIES[policy](values)
    try:
        sure = np.asarray(policies()[policy](values))
    except Exception as error:
        raise TestbedError(f"{called(GROUP, policy)} failed: {kind_and_text(error)}") from error
    if sure.shape != values.shape[:-1] or not np.all((sure >= 0) & (sure <= 1)):
        raise TestbedError(
            f"{called(GROUP, policy)} gave {_few(sure)} for logits {list(values.shape)}: expected "
            f"{list(values.shape[:-1])} numbers from 0 to 1"
        )
    return sure


def _few(values: Floats) -> str:
    outside = values[~((values >= 0) & (values <= 1))]
    return f"{outside.ravel()[0]:g}" if outside.size else f"an array {list(values.shape)}"


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
