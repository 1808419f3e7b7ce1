"""Reading results back, checked: the one way in for analysis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow.parquet as pq

from testbed.errors import RecordError
from testbed.record.documents import Manifest, Status
from testbed.record.layout import CellFolder, ExperimentFolder
from testbed.record.log import read_rows
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockLine, ClockRecord, EventRow
from testbed.record.tables import TABLES, arrow_schema

if TYPE_CHECKING:
    import pandas as pd

DocumentT = TypeVar("DocumentT")


class _Versioned(msgspec.Struct):
    # Read first, so that results of another version are told as such and not by the first field that differs.
    schema: int | None = None


@dataclass(frozen=True)
class Cell:
    """One cell of a campaign on disk. Tables are read when asked for."""

    folder: Path
    manifest: Manifest
    status: Status | None

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
        return list(read_rows(path, EventRow)) if path.exists() else []

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
        if not path.exists():
            return ClockRecord(estimates=[], lines=[])
        return read_document(path, ClockRecord)

    def _table(self, name: str) -> pd.DataFrame:
        path = CellFolder(self.folder).table(name)
        try:
            table = pq.read_table(path)
        except FileNotFoundError as error:
            raise RecordError(f"{path}: missing; was the run ended before it collected? testbed run") from error
        except OSError as error:
            raise RecordError(f"{path}: damaged: {error}") from error
        if not table.schema.equals(arrow_schema(TABLES[name])):
            raise RecordError(f"{path}: its columns are not those of schema {SCHEMA_VERSION}")
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


def read_campaign(folder: Path) -> list[Cell]:
    """Open every cell of an experiment's results, in the order of the experiment file.

    Raises:
        RecordError: there is no such folder, it holds no cells, or one of them is damaged.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such results; testbed run makes them")
    cells = [read_cell(cell.path) for cell in ExperimentFolder(folder).cells()]
    if not cells:
        raise RecordError(f"{folder}: holds no measured cells")
    return sorted(cells, key=lambda cell: cell.manifest.config.position)


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
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RecordError(f"{path}: not what was expected: {error}") from error
