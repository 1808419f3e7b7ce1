"""Any exit rule over recorded timesteps: what a cell that ran all T would have done, without hardware."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy, confidence, exit_timestep
from testbed.record.exits import accumulate as accumulated
from testbed.record.reader import Cell


def replay(
    cell: Cell, policy: Policy, accumulate: Accumulate, thresholds: Sequence[float | Sequence[float]]
) -> pd.DataFrame:
    """Accuracy and mean exit timestep at each threshold.

    A threshold is one number for every timestep, or a sequence of T - 1, one for each timestep but the last. The
    answer is the argmax of the logits accumulated up to the exit, as on the edge. As in `accuracy`, a request that was
    not answered counts as wrong.

    Returns:
        A row per threshold: `threshold` (as given), `accuracy` (a fraction), `mean_exit_timestep` (counted from 1).

    Raises:
        RecordError: the cell stopped early somewhere, so later timesteps are not there to replay, or a sequence
            has another number of thresholds.
    """
    logits, labels, total = recorded_logits(cell)
    running = accumulated(logits, accumulate)
    sureness = confidence(running, policy)
    right = running.argmax(axis=-1) == labels
    each = np.arange(right.shape[1])
    rows = []
    for threshold in thresholds:
        try:
            exits = exit_timestep(sureness, threshold)
        except ValueError as error:
            raise RecordError(f"{cell.manifest.label}: {error}") from error
        rows.append((threshold, float(right[exits - 1, each].sum()) / total, float(exits.mean())))
    return pd.DataFrame(rows, columns=["threshold", "accuracy", "mean_exit_timestep"])


def recorded_logits(cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Logits [T, N, K] and labels [N] of the N answered requests, and the number of all requests.

    Raises:
        RecordError: some request has fewer or more timesteps than the model, or no request was answered.
    """
    requests = cell.requests
    keys = ["repeat", "request_id"]
    answered = requests.loc[requests["outcome"] == "ok", [*keys, "label"]]
    if answered.empty:
        raise RecordError(f"{cell.folder}: none of its requests was answered")
    steps = cell.manifest.model.timesteps
    rows = cell.timesteps.merge(answered, on=keys).sort_values([*keys, "timestep"])
    counts = rows.groupby(keys).size().to_numpy()
    if len(counts) != len(answered) or (counts != steps).any():
        raise RecordError(
            f"{cell.manifest.label}: not every request has all {steps} timesteps recorded; replay a cell without exit"
        )
    logits = np.stack([np.asarray(row, dtype=np.float64) for row in rows["logits"]])
    labels = rows["label"].to_numpy(np.int64)
    by_request = logits.reshape(len(answered), steps, -1)
    return by_request.swapaxes(0, 1), labels.reshape(-1, steps)[:, 0], len(requests)
