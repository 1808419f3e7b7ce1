"""What is given to others is whole."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import RecordError
from testbed.record.reader import Cell, read_campaign


def whole_cells(folder: Path) -> list[Cell]:
    """The cells of an experiment's results; also those that are not valid, which say so.

    Raises:
        RecordError: there are none, or a piece of one is missing or torn.
    """
    damage: list[str] = []
    cells = read_campaign(folder, damage.append)
    if damage:
        raise RecordError(f"not exported: {damage[0]}" + (f"; and {len(damage) - 1} more" if damage[1:] else ""))
    return cells
