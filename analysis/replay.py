"""Any exit rule over recorded timesteps: what a cell that ran all T would have done, without hardware."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import Alike
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy, confidence, exit_timestep
from testbed.record.exits import accumulate as accumulated
from testbed.record.reader import Cell


def replay(
    cell: Cell, policy: Policy, accumulate: Accumulate, thresholds: Sequence[float | Sequence[float]]
) -> pd.DataFrame:
    """Accuracy and mean exit timestep at each threshold.

    A threshold is one number for every timestep, or a sequence of T - 1, one for each timestep but the last. The
    answer is the argmax of the logits accumulated up to the exit, as on the edge. As in the metrics, a request that was
    not answered counts as wrong, each repeat counts alike, and in it each sample.

    Returns:
        A row per threshold: `threshold` (as given), `accuracy` (a fraction), `mean_exit_timestep` (counted from 1).

    Raises:
        RecordError: the cell stopped early somewhere, so later timesteps are not there to replay, or a sequence
            has another number of thresholds.
    """
    logits, answered = recorded_logits(cell)
    every, of_answered = Alike(cell.requests), Alike(answered)
    running = accumulated(logits, accumulate)
    sureness = confidence(running, policy)
    is_right = running.argmax(axis=-1) == answered["label"].to_numpy(np.int64)
    each = np.arange(len(answered))
    # The answered requests are rows of all requests, by their labels in the index.
    places = cell.requests.index.get_indexer(answered.index)
    rows = []
    for threshold in thresholds:
        try:
            exits = exit_timestep(sureness, threshold)
        except ValueError as error:
            raise RecordError(f"{cell.manifest.label}: {error}") from error
        right = np.zeros(len(cell.requests))
        right[places] = is_right[exits - 1, each]
        rows.append((threshold, every.mean(right), of_answered.mean(exits)))
    return pd.DataFrame(rows, columns=["threshold", "accuracy", "mean_exit_timestep"])


def recorded_logits(cell: Cell) -> tuple[NDArray[np.float64], pd.DataFrame]:
    """Logits [T, N, K] of the N answered requests, and those requests.

    Raises:
        RecordError: some request has fewer or more timesteps than the model, or no request was answered.
    """
    keys = ["node", "repeat", "request_id"]
    requests = cell.requests
    answered = requests[requests["outcome"] == "ok"].sort_values(keys)
    if answered.empty:
        raise RecordError(f"{cell.folder}: none of its requests was answered")
    steps = cell.manifest.model.timesteps
    rows = cell.timesteps.merge(answered[keys], on=keys).sort_values([*keys, "timestep"])
    counts = rows.groupby(keys).size().to_numpy()
    if len(counts) != len(answered) or (counts != steps).any():
        raise RecordError(
            f"{cell.manifest.label}: not every request has all {steps} timesteps recorded; replay a cell without exit"
        )
    logits = np.stack([np.asarray(row, dtype=np.float64) for row in rows["logits"]])
    return logits.reshape(len(answered), steps, -1).swapaxes(0, 1), answered
