"""A whole curve over thresholds as one data frame: what follows exactly, and beside it what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.replay.decide import Recorded, Thresholds, at, record_of
from analysis.replay.predict import Predictor, wire_up_bytes
from analysis.stats import over_repeats
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy
from testbed.record.reader import Cell

EXACT = ("accuracy", "mean_exit_timestep", "payload_up_bytes", "payload_down_bytes")
"""Numbers that follow from the record under any rule; bytes do not where the edge sends ahead of its answers."""

PREDICTED = (
    "predicted_wire_up_bytes",
    "predicted_latency_mean_ms",
    "predicted_latency_p50_ms",
    "predicted_latency_p95_ms",
    "predicted_energy_mj",
    "predicted_energy_net_mj",
)
"""Numbers that a cell with that exit might differ from: they were not measured, and their names say so."""

Found = tuple[str, float, Sequence[float]]


def curve(cell: Cell, policy: Policy, accumulate: Accumulate, thresholds: Sequence[Thresholds]) -> pd.DataFrame:
    """What a cell without an exit would have shown at each threshold.

    Every number `NAME` has the ends of its 95% interval over repeats in `NAME_lo` and `NAME_hi`, NaN for one repeat.

    Returns:
        A row per threshold: `threshold` (as given), the numbers of `EXACT` and of `PREDICTED`, and `energy_source`
        (measured or emulated). What does not apply is NaN. `attrs["not_predicted"]` is why latency or energy is not
        predicted, or blank; `attrs["mean_power"]` is true where waiting and working are given one power.

    Raises:
        RecordError: as `replay`.
    """
    recorded = record_of(cell)
    sureness = recorded.sureness(policy, accumulate)
    predictor = None
    try:
        predictor = Predictor(recorded)
        why = predictor.no_energy
    except RecordError as error:
        why = str(error)
    rows = []
    for threshold in thresholds:
        exits = recorded.exits(sureness, threshold)
        row: dict[str, object] = {"threshold": threshold}
        for name, value, per_repeat in _numbers(recorded, predictor, exits):
            half = over_repeats(per_repeat).half if per_repeat else None
            low, high = (np.nan, np.nan) if half is None else (value - half, value + half)
            row |= {name: value, f"{name}_lo": low, f"{name}_hi": high}
        row["energy_source"] = None if predictor is None else predictor.source
        rows.append(row)
    columns = [f"{name}{end}" for name in (*EXACT, *PREDICTED) for end in ("", "_lo", "_hi")]
    frame = pd.DataFrame(rows, columns=["threshold", *columns, "energy_source"])
    frame.attrs["not_predicted"] = why
    frame.attrs["mean_power"] = predictor is not None and any(not each.resolved for each in predictor.powers.values())
    return frame


def curves(
    cells: Sequence[Cell], policy: Policy, accumulate: Accumulate, thresholds: Sequence[Thresholds]
) -> tuple[list[tuple[Cell, pd.DataFrame]], list[str]]:
    """The curve of every cell that ran all its timesteps, and in one line each why the others have none.

    Cells with an exit, and cells whose edge cannot stop early, are passed over without a word.
    """
    found, refused = [], []
    for cell in cells:
        if cell.manifest.exit is not None or not cell.manifest.mode_facts.exits:
            continue
        try:
            if not cell.complete:
                raise RecordError(f"{cell.manifest.label}: not complete; testbed run measures what is missing")
            found.append((cell, curve(cell, policy, accumulate, thresholds)))
        except RecordError as error:
            refused.append(str(error))
    return found, refused


def _numbers(recorded: Recorded, predictor: Predictor | None, exits: NDArray[np.int64]) -> Iterator[Found]:
    every, alike = Alike(recorded.cell.requests), Alike(recorded.answered)
    yield _mean("accuracy", every, recorded.right(exits))
    yield _mean("mean_exit_timestep", alike, exits)
    if recorded.cell.manifest.sends != "nothing" and not recorded.ahead:
        yield _mean("payload_up_bytes", alike, at(recorded.payload_up_bytes, exits))
        yield _mean("payload_down_bytes", alike, at(recorded.payload_down_bytes, exits))
        wire = wire_up_bytes(recorded, exits)
        if np.isfinite(wire).any():
            known = np.isfinite(wire)
            yield _mean("predicted_wire_up_bytes", Alike(recorded.answered[known]), wire[known])
    if predictor is None:
        return
    found = predictor.predict(exits)
    yield _mean("predicted_latency_mean_ms", alike, found.latency_ms)
    for percent, value in zip((50, 95), alike.percentiles(found.latency_ms, [50, 95]), strict=True):
        per_repeat = alike.percentiles_per_repeat(found.latency_ms, percent)
        yield f"predicted_latency_p{percent}_ms", value, list(per_repeat.values())
    yield from _energies({"predicted_energy_mj": found.gross_mj, "predicted_energy_net_mj": found.net_mj})


def _mean(name: str, alike: Alike, values: NDArray[np.generic]) -> Found:
    return name, alike.mean(values), list(alike.per_repeat(values).values())


def _energies(found: Mapping[str, Mapping[int, float]]) -> Iterator[Found]:
    for name, per_repeat in found.items():
        if per_repeat:
            values = list(per_repeat.values())
            yield name, over_repeats(values).mean, values
