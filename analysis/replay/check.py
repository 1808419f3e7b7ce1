"""How far a replay is off: cells that really exited, beside the replay of their own kind without an exit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.energy import energy
from analysis.replay.decide import KEYS, Recorded, at, record_of
from analysis.replay.predict import Predictor, wire_up_bytes
from analysis.stats import Interval, over_repeats
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy
from testbed.record.reader import Cell

CONTROL = "first_timestep_ms"
"""Mean time until the first timestep's answer: the same work with an exit and without, so no prediction. What it is off
by is what the nodes and the link did otherwise while the one cell was measured and the other."""


@dataclass(frozen=True)
class PredictionError:
    """One number of a cell that exited, as in `curve`: predicted from a cell without exit, and measured, by repeat."""

    name: str
    predicted: Mapping[int, float]
    measured: Mapping[int, float]

    @property
    def per_repeat_pct(self) -> dict[int, float]:
        """Prediction less measurement over measurement, in percent, in each repeat that both cells have."""
        both = sorted(self.predicted.keys() & self.measured.keys())
        return {each: 100 * (float(self.predicted[each]) / float(self.measured[each]) - 1) for each in both}

    @property
    def percent(self) -> Interval:
        """The mean of them, and its 95% interval."""
        return over_repeats(list(self.per_repeat_pct.values()))


@dataclass(frozen=True)
class Check:
    """A cell that exited and the replay of its exit in a cell without one, alike in all else.

    Attributes:
        replayed: label of the cell without exit.
        measured: label of the cell that exited.
        policy, accumulate: the rule of that exit.
        requests: how many samples both answered in the same repeat.
        same: how many of them have the same exit and answer, and payload where it follows from them.
        errors: of what is predicted.
    """

    replayed: str
    measured: str
    policy: Policy
    accumulate: Accumulate
    requests: int
    same: int
    errors: tuple[PredictionError, ...]


def checks(cells: Sequence[Cell]) -> list[Check]:
    """Every check that can be made within these cells; none where no cell has a counterpart with exit.

    Both cells were measured in each repeat, close in time, so each repeat's prediction meets its own measurement. On a
    machine that is busy with other things they differ also by what it did meanwhile.
    """
    whole = [cell for cell in cells if cell.complete and cell.manifest.exit is None and cell.manifest.mode_facts.exits]
    exited = [cell for cell in cells if cell.complete and cell.manifest.exit is not None]
    found: list[Check] = []
    for cell in whole:
        for other in exited:
            if _physics(cell) == _physics(other):
                try:
                    found.append(_check(cell, other))
                except RecordError:  # a hole in one cell's record is told where that cell is shown
                    continue
    return found


def _physics(cell: Cell) -> bytes:
    """All that decides a cell's numbers but its exit."""
    manifest = cell.manifest
    config = msgspec.structs.replace(manifest.config, exit=None, position=0, baseline=False)
    nodes = [manifest.nodes[name].profile for name in sorted(manifest.nodes)]
    return msgspec.json.encode([config, manifest.model.hash, manifest.dataset.hash, nodes])


def _check(cell: Cell, other: Cell) -> Check:
    recorded, rule = record_of(cell), other.manifest.exit
    threshold = None if rule is None else rule.threshold if rule.thresholds is None else rule.thresholds
    if rule is None or threshold is None:
        raise RecordError(f"{other.manifest.label}: it has no exit")
    exits = recorded.exits(recorded.sureness(rule.policy, rule.accumulate), threshold)
    rows = other.requests[other.requests["outcome"] == "ok"]
    requests, same = _agreement(recorded, exits, rows)
    try:
        errors = tuple(_errors(recorded, exits, other, rows))
    except RecordError:  # nothing is predicted, so there is nothing to be wrong
        errors = ()
    return Check(cell.manifest.label, other.manifest.label, rule.policy, rule.accumulate, requests, same, errors)


def _first_ms(cell: Cell, rows: pd.DataFrame) -> dict[int, float]:
    """Mean time until the first answer, by repeat."""
    steps = cell.timesteps[cell.timesteps["timestep"] == 0]
    both = rows[[*KEYS, "sample_index", "t_start_ns"]].merge(steps[[*KEYS, "t_reply_ns"]], on=KEYS)
    took_ms = (both["t_reply_ns"].to_numpy(np.float64, na_value=np.nan) - both["t_start_ns"].to_numpy(np.float64)) / 1e6
    known = np.isfinite(took_ms)
    return Alike(both[known]).per_repeat(took_ms[known]) if known.any() else {}


def _agreement(recorded: Recorded, exits: NDArray[np.int64], rows: pd.DataFrame) -> tuple[int, int]:
    exact = {"exit_timestep": exits, "prediction": at(recorded.predictions, exits)}
    if recorded.cell.manifest.sends != "nothing" and not recorded.ahead:
        exact["payload_up_bytes"] = at(recorded.payload_up_bytes, exits).astype(np.int64)
    keys = ["node", "repeat", "sample_index"]
    own = recorded.answered[keys].assign(**exact).drop_duplicates(keys)
    both = own.merge(rows[[*keys, *exact]].drop_duplicates(keys), on=keys, suffixes=("", "_measured"))
    alike = np.all([both[name] == both[f"{name}_measured"] for name in exact], axis=0)
    return len(both), int(alike.sum())


def _errors(recorded: Recorded, exits: NDArray[np.int64], other: Cell, rows: pd.DataFrame) -> Iterator[PredictionError]:
    predictor = Predictor(recorded)
    predicted = predictor.predict(exits)
    own, theirs = Alike(recorded.answered), Alike(rows)
    first = predictor.times.replied_ms[0]
    yield PredictionError(CONTROL, own.per_repeat(np.nan_to_num(first)), _first_ms(other, rows))
    took_ms = rows["latency_ms"].to_numpy(np.float64)
    mean_ms = own.per_repeat(predicted.latency_ms)
    yield PredictionError("predicted_latency_mean_ms", mean_ms, theirs.per_repeat(took_ms))
    for percent in (50, 95):
        mine = own.percentiles_per_repeat(predicted.latency_ms, percent)
        name = f"predicted_latency_p{percent}_ms"
        yield PredictionError(name, mine, theirs.percentiles_per_repeat(took_ms, percent))
    drew = energy(other, other.manifest.role("edge")[0])
    if drew is not None and predicted.gross_mj:
        yield PredictionError("predicted_energy_mj", predicted.gross_mj, drew.per_repeat_mj)
    sent, wire = rows["wire_up_bytes"].to_numpy(np.float64, na_value=np.nan), wire_up_bytes(recorded, exits)
    if not recorded.ahead and np.isfinite(sent).all() and np.isfinite(wire).all() and sent.any():
        yield PredictionError("predicted_wire_up_bytes", own.per_repeat(wire), theirs.per_repeat(sent))
