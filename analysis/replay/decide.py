"""What follows exactly from recorded timesteps under another exit rule: answers, exits and payload bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.fallback import fell_back
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy, confidence, exit_timestep
from testbed.record.exits import accumulate as accumulated
from testbed.record.reader import Cell

Thresholds: TypeAlias = float | Sequence[float]
"""One α for every timestep, or T - 1 of them, one for each timestep but the last."""

Floats: TypeAlias = NDArray[np.float64]
NumberT = TypeVar("NumberT", bound=np.generic)

DURATION_BYTES = 8
"""In each answer: how long the cloud took."""

KEYS = ["node", "repeat", "request_id"]
"""What tells a request of a cell from every other."""


@dataclass(frozen=True)
class Recorded:
    """The N answered requests of a cell that ran all T timesteps.

    Attributes:
        cell: the cell.
        answered: those requests, in the order of `KEYS`; the index is that of the cell's requests.
        steps: a row per request and timestep, in the same order.
        logits: [T, N, K], each timestep's own.
    """

    cell: Cell
    answered: pd.DataFrame
    steps: pd.DataFrame
    logits: Floats

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.logits)

    @property
    def ahead(self) -> bool:
        """Whether the edge sends ahead of its answers: what an earlier exit has sent by then is a matter of timing.

        So it is where two edges chose other chunks.
        """
        manifest = self.cell.manifest
        windows = [manifest.config.window, *(chosen.window for chosen in manifest.schedules)]
        return max(windows) > 1 or len({tuple(chosen.chunks) for chosen in manifest.schedules}) > 1

    @cached_property
    def alone(self) -> NDArray[np.bool_]:
        """[N]: the edge answered in place of its cloud, by another network that runs without an exit."""
        return fell_back(self.cell, self.answered)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """[N]: where the answered requests are among all of the cell."""
        return np.asarray(self.cell.requests.index.get_indexer(self.answered.index), dtype=np.int64)

    def of_steps(self, column: str) -> Floats:
        """A column of the timesteps as [T, N]; NaN where it does not apply."""
        values = self.steps[column].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(values.reshape(-1, self.timesteps).T)

    @cached_property
    def chunks(self) -> list[int]:
        """How many timesteps went in each message: as was said, or as was chosen."""
        manifest = self.cell.manifest
        chosen = next((list(one.chunks) for one in manifest.schedules), None)
        return chosen or manifest.config.chunks or [1] * self.timesteps

    @cached_property
    def messages(self) -> NDArray[np.int64]:
        """[T]: how many messages a request has sent that stops after a timestep, counted from 0."""
        return np.repeat(np.arange(1, len(self.chunks) + 1), self.chunks)

    @cached_property
    def sent(self) -> NDArray[np.int64]:
        """[T]: how many timesteps were in them: a chunk goes as a whole."""
        return np.cumsum(self.chunks)[self.messages - 1]

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The first timestep of each message, counted from 0; the others of a chunk have its times."""
        return np.cumsum([0, *self.chunks[:-1]])

    @cached_property
    def payload_up_bytes(self) -> Floats:
        """[T, N]: bytes of payload that a request has sent if it stops after a timestep, counted from 0.

        Raises:
            RecordError: the timesteps' bytes are not those of their request.
        """
        whole = self.answered["payload_up_bytes"].to_numpy(np.float64)
        sent = np.cumsum(np.nan_to_num(self.of_steps("payload_bytes")), axis=0)[self.sent - 1]
        sent[:, self.alone] = whole[self.alone]
        if not np.array_equal(sent[-1], whole):
            raise RecordError(f"{self.cell.folder}: the payloads of its timesteps are not those of its requests")
        return sent

    @cached_property
    def payload_down_bytes(self) -> Floats:
        """[T, N]: likewise, received. An answer has a duration, and as many bytes for each timestep: its logits."""
        whole = self.answered["payload_down_bytes"].to_numpy(np.float64)
        each = (whole - DURATION_BYTES * len(self.chunks)) / self.timesteps
        received = DURATION_BYTES * self.messages[:, None] + each * self.sent[:, None]
        received[:, self.alone] = whole[self.alone]
        return np.asarray(received)

    def sureness(self, policy: Policy, accumulate: Accumulate) -> Floats:
        """[T, N]: the confidence that an exit rule sees."""
        return np.asarray(confidence(accumulated(self.logits, accumulate), policy), dtype=np.float64)

    def exits(self, sureness: Floats, threshold: Thresholds) -> NDArray[np.int64]:
        """[N]: the timestep at which each request stops, counted from 1. One that the edge answered alone stays at T.

        Raises:
            RecordError: a sequence of thresholds has another length than T - 1.
        """
        try:
            found = exit_timestep(sureness, threshold)
        except ValueError as error:
            raise RecordError(f"{self.cell.manifest.label}: {error}") from error
        found[self.alone] = self.timesteps
        return found

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """[T, N]: the answer of a request that stops after a timestep. Mean and sum have the same argmax."""
        return np.asarray(accumulated(self.logits).argmax(axis=-1), dtype=np.int64)

    def right(self, exits: NDArray[np.int64]) -> Floats:
        """1 for each of the cell's requests that is answered right, else 0; one without an answer is wrong."""
        right = np.zeros(len(self.cell.requests))
        right[self.places] = at(self.predictions, exits) == self.answered["label"].to_numpy(np.int64)
        return right


def at(values: NDArray[NumberT], exits: NDArray[np.int64]) -> NDArray[NumberT]:
    """The entry of [T, N] at each request's exit, [N]."""
    return np.asarray(values[exits - 1, np.arange(len(exits))])


def replay(cell: Cell, policy: Policy, accumulate: Accumulate, thresholds: Sequence[Thresholds]) -> pd.DataFrame:
    """Accuracy and mean exit timestep at each threshold.

    The answer is the argmax of the logits accumulated up to the exit, as on the edge. As in the metrics, a request that
    was not answered counts as wrong, each repeat counts alike, and in it each sample. One that the edge answered in
    place of its cloud stays at T.

    Returns:
        A row per threshold: `threshold` (as given), `accuracy` (a fraction), `mean_exit_timestep` (counted from 1).

    Raises:
        RecordError: the cell stopped early somewhere, so later timesteps are not there to replay, or a sequence
            has another number of thresholds.
    """
    recorded = record_of(cell)
    every, of_answered = Alike(cell.requests), Alike(recorded.answered)
    sureness = recorded.sureness(policy, accumulate)
    rows = []
    for threshold in thresholds:
        exits = recorded.exits(sureness, threshold)
        rows.append((threshold, every.mean(recorded.right(exits)), of_answered.mean(exits)))
    return pd.DataFrame(rows, columns=["threshold", "accuracy", "mean_exit_timestep"])


def record_of(cell: Cell) -> Recorded:
    """What a cell recorded of its answered requests.

    Raises:
        RecordError: its edge sees no logits before the last timestep, some request has fewer or more timesteps than the
            model, or no request was answered.
    """
    label = cell.manifest.label
    if not cell.manifest.mode_facts.exits:
        raise RecordError(
            f"{label}: its edge cannot stop early in mode {cell.manifest.mode}; there is no exit to replay"
        )
    requests = cell.requests
    answered = requests[requests["outcome"] == "ok"].sort_values(KEYS)
    if answered.empty:
        raise RecordError(f"{cell.folder}: none of its requests was answered")
    steps = cell.manifest.model.timesteps
    rows = cell.timesteps.merge(answered[KEYS], on=KEYS).sort_values([*KEYS, "timestep"])
    counts = rows.groupby(KEYS).size().to_numpy()
    if len(counts) != len(answered) or (counts != steps).any():
        raise RecordError(f"{label}: not every request has all {steps} timesteps recorded; replay a cell without exit")
    logits = np.stack([np.asarray(row, dtype=np.float64) for row in rows["logits"]])
    return Recorded(cell, answered, rows, logits.reshape(len(answered), steps, -1).swapaxes(0, 1))


def recorded_logits(cell: Cell) -> tuple[Floats, pd.DataFrame]:
    """Logits [T, N, K] of the N answered requests, and those requests.

    Raises:
        RecordError: as `record_of`.
    """
    recorded = record_of(cell)
    return recorded.logits, recorded.answered
