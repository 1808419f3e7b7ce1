"""Exits that are not measured but replayed: their cell is measured once, with all timesteps."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.experiment.cell import CellSpec
from testbed.experiment.spec import Experiment
from testbed.modes import facts_of
from testbed.record.exits import Accumulate, Policy


@dataclass(frozen=True)
class Replay:
    """The exits of one policy that are replayed from one cell; `thresholds` are as `Exit` has them."""

    position: int
    policy: Policy
    accumulate: Accumulate
    thresholds: list[float | list[float]] = field(default_factory=list)


def measured_once(experiment: Experiment) -> tuple[Experiment, list[Replay]]:
    """An experiment with the cells that are measured, and what is replayed from which of them.

    A cell without exit that a replay needs and that is not there is added, where the first cell to be replayed stood.
    """
    kept = [cell.measured() for cell in experiment.cells if not _replayed(cell)]
    cells: list[CellSpec] = []
    asked: list[tuple[str, CellSpec]] = []
    for cell in experiment.cells:
        if not _replayed(cell):
            cells.append(cell)
            continue
        # Without an exit the edge alone runs the whole backbone at once.
        chunks = cell.chunks if facts_of(cell.mode).windows else None
        whole = cell.model_copy(update={"exit": None, "label": None, "chunks": chunks})
        if whole.measured() not in kept:
            kept.append(whole.measured())
            cells.append(whole)
        asked.append((whole.measured(), cell))
    places = {cell.measured(): position for position, cell in enumerate(cells)}
    replays: dict[tuple[int, Policy, Accumulate], Replay] = {}
    for key, cell in asked:
        if cell.exit is not None:
            at = (places[key], cell.exit.policy, cell.exit.accumulate)
            thresholds = cell.exit.threshold if cell.exit.thresholds is None else list(cell.exit.thresholds)
            if thresholds is not None:
                replays.setdefault(at, Replay(*at)).thresholds.append(thresholds)
    return experiment.model_copy(update={"cells": tuple(cells)}), list(replays.values())


def _replayed(cell: CellSpec) -> bool:
    return cell.exit is not None and cell.exit.replay
