"""Asks every gate about a complete cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from testbed.errors import RecordError
from testbed.record.power import recorded, repeats, source_names, window
from testbed.record.reader import Cell
from testbed.validity import board, clocks, faults, host, network, path, requests, sensors
from testbed.validity.sensors import Metered

Gate: TypeAlias = Callable[[Cell], Iterator[str]]
MeteredGate: TypeAlias = Callable[[list[Metered]], Iterator[str]]

GATES: tuple[Gate, ...] = (
    requests.unanswered,
    host.too_slow,
    requests.saturated,
    board.throttled,
    board.still_warming_up,
    board.not_cooled_down,
    clocks.skewed,
    clocks.wall_clock_set,
    board.rebooted,
    path.off_target,
    faults.not_played,
    network.gaps,
    sensors.beyond_belief,
)
"""Gates on what a cell recorded; each yields its reasons against it, with number and limit."""

METERED_GATES: tuple[MeteredGate, ...] = (
    sensors.few_readings,
    sensors.pauses,
    sensors.stuck,
    sensors.baselines_apart,
    sensors.sources_apart,
)
"""Gates on the power sources of one node in one repeat."""


def reasons(cell: Cell) -> list[str]:
    """Why a complete cell is invalid; empty if it is valid."""
    found = [reason for gate in GATES for reason in gate(cell)]
    try:
        for metered in _metered(cell):
            found += [reason for gate in METERED_GATES for reason in gate(metered)]
    except RecordError as error:
        found.append(str(error))
    return found


def _metered(cell: Cell) -> Iterator[list[Metered]]:
    """For each metered node and repeat, its sources.

    Raises:
        RecordError: a source recorded nothing, or what is needed to read it is missing.
    """
    for node in cell.manifest.nodes.values():
        found = {name: recorded(cell, node, name) for name in source_names(node)}
        for repeat in repeats(cell) if found else []:
            around = window(cell, node, repeat)
            metered = []
            for name, source in found.items():
                if source is None:
                    raise RecordError(f"{node.id}: {name}, repeat {repeat}: no power samples")
                metered.append(Metered(source, repeat, around))
            yield metered
