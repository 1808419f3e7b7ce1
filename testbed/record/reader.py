"""Reading results back, checked: the one way in for analysis."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from testbed.errors import RecordError
from testbed.record.documents import Manifest, Status
from testbed.record.layout import CellFolder, ExperimentFolder
from testbed.record.log import read_rows
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockLine, ClockRecord, EventRow
from testbed.record.tables import AGAIN, TABLES, read_table

if TYPE_CHECKING:
    import pandas as pd

DocumentT = TypeVar("DocumentT")


class _Versioned(msgspec.Struct):
    # Read first, so that results of another version are told as such and not by the first field that differs.
    schema: int | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a campaign on disk. Tables are read when asked for.

    `damage` has a line for each piece that is missing or torn, as far as it was looked for.
    """

    folder: Path
    manifest: Manifest
    status: Status | None
    damage: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every repeat was measured."""
        return self.status is not None and self.status.state == "complete"

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request: the columns of `RequestRow`."""
        return self._table("requests")

    @cached_property
    def timesteps(self) -> pd.DataFrame:
        """One row per timestep of a request: the columns of `TimestepRow`."""
        return self._table("timesteps")

    @cached_property
    def power(self) -> pd.DataFrame:
        """One row per power sample: the columns of `PowerRow`."""
        return self._table("power")

    @cached_property
    def network(self) -> pd.DataFrame:
        """Counters of the data connection: the columns of `NetworkRow`."""
        return self._table("network")

    @cached_property
    def events(self) -> list[EventRow]:
        """Phases and incidents, in the order they were recorded."""
        path = CellFolder(self.folder).events
        if not self._is_there(path):
            return []
        rows = list(read_rows(path, EventRow))
        with path.open("rb") as file:
            # It is written whole, so what does not end with a line was cut.
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
                raise RecordError(f"{path}: cut short; {AGAIN}")
        return rows

    @property
    def clock(self) -> list[ClockEstimate]:
        """Clock offsets of the nodes against the orchestrator, as they were exchanged."""
        return self._clock.estimates

    @property
    def clock_lines(self) -> list[ClockLine]:
        """Offset and skew of each node in each repeat."""
        return self._clock.lines

    @cached_property
    def _clock(self) -> ClockRecord:
        path = CellFolder(self.folder).clock
        return read_document(path, ClockRecord) if self._is_there(path) else ClockRecord(estimates=[], lines=[])

    def _is_there(self, path: Path) -> bool:
        """Whether a piece is there, which it must be where the cell was collected."""
        if not path.exists() and self.status is not None:
            raise RecordError(f"{path}: missing; {AGAIN}")
        return path.exists()

    def columns(self, name: str, *columns: str) -> pd.DataFrame:
        """Some columns of a table, which cost no more than they are: logits are nearly all of the timesteps."""
        return self._table(name, columns)

    def _table(self, name: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
        table = read_table(CellFolder(self.folder).table(name), TABLES[name], columns)
        frame: pd.DataFrame = table.to_pandas()
        return frame


def read_cell(folder: Path) -> Cell:
    """Open one cell.

    Raises:
        RecordError: its manifest or status is missing, damaged, or of another schema.
    """
    cell = CellFolder(folder)
    manifest = read_document(cell.manifest, Manifest)
    return Cell(folder, manifest, read_document(cell.status, Status) if cell.status.exists() else None)


def look_over(cell: Cell) -> Cell:
    """The cell with a line for each of its pieces that is missing or torn."""
    folder, found = CellFolder(cell.folder), []
    if cell.status is None and folder.table("requests").exists():
        found.append(f"{folder.status}: missing; testbed run judges the cell again")
    if cell.status is not None and not any(folder.table(name).exists() for name in TABLES):
        found.append(f"{cell.folder}: the documents are there and the tables are not; {AGAIN}")
    elif cell.status is not None:
        looks: list[Callable[[], object]] = [lambda: cell.events, lambda: cell.clock]
        # Nothing is kept of the tables: those of a whole campaign may be larger than memory.
        looks[:0] = [functools.partial(read_table, folder.table(name), row) for name, row in TABLES.items()]
        for look in looks:
            try:
                look()
            except RecordError as error:  # noqa: PERF203  (each piece is looked at)
                found.append(str(error))
    return replace(cell, damage=(*cell.damage, *found)) if found else cell


def read_results(folder: Path, on_damage: Callable[[str], None]) -> list[Cell]:
    """Every cell of an experiment's results, or the one cell whose folder this is.

    Raises:
        RecordError: as `read_campaign` and `read_cell`.
    """
    if not CellFolder(folder).manifest.exists():
        return read_campaign(folder, on_damage)
    cell = look_over(read_cell(folder))
    for line in cell.damage:
        on_damage(line)
    return [cell]


def read_campaign(folder: Path, on_damage: Callable[[str], None]) -> list[Cell]:
    """Open every cell of an experiment's results, in the order of the experiment file.

    Args:
        folder: the experiment's results.
        on_damage: told of each piece that is missing or torn, in one line. A cell without a manifest is left out; of
            any other what is sound can be read.

    Raises:
        RecordError: there is no such folder, or it holds no cell that can be read.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such results; testbed run makes them")
    cells, damaged = [], 0
    for found in ExperimentFolder(folder).cells():
        try:
            cell = look_over(_read_what_is_sound(found))
        except RecordError as error:
            on_damage(str(error))
            damaged += 1
            continue
        for line in cell.damage:
            on_damage(line)
        cells.append(cell)
    if not cells:
        raise RecordError(f"{folder}: holds no {'measured cells' if not damaged else 'cell that can be read'}")
    return sorted(cells, key=lambda cell: cell.manifest.config.position)


def _read_what_is_sound(found: CellFolder) -> Cell:
    manifest = read_document(found.manifest, Manifest)
    try:
        return read_cell(found.path)
    except RecordError as error:
        return Cell(found.path, manifest, None, damage=(str(error),))


def read_document(path: Path, kind: type[DocumentT]) -> DocumentT:
    """Read a JSON document into its type.

    Raises:
        RecordError: it is missing, of another schema version, or not of that type.
    """
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data, type=_Versioned).schema
        if found not in (None, SCHEMA_VERSION):
            raise RecordError(
                f"{path}: recorded with schema {found}, this testbed reads {SCHEMA_VERSION}; read these results with "
                "the testbed that measured them (code.commit in manifest.json), or measure again"
            )
        return msgspec.json.decode(data, type=kind)
    except FileNotFoundError as error:
        raise RecordError(f"{path}: missing") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{path}: not what was expected: {error}") from error
