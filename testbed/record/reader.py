"""Reading results back, checked: the one way in for analysis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow.parquet as pq

from testbed.errors import RecordError
from testbed.record.log import read_rows
from testbed.record.schema import SCHEMA_VERSION, ClockEstimate, ClockLine, ClockRecord, EventRow, Manifest, Status
from testbed.record.tables import TABLES, arrow_schema

if TYPE_CHECKING:
    import pandas as pd

DocumentT = TypeVar("DocumentT")


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
        path = self.folder / "events.jsonl"
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
        path = self.folder / "clock.json"
        if not path.exists():
            return ClockRecord(estimates=[], lines=[])
        # Before skew was known, the file was the list of estimates alone.
        found: ClockRecord | list[ClockEstimate] = read_document(path, ClockRecord | list[ClockEstimate])  # type: ignore[arg-type]
        return found if isinstance(found, ClockRecord) else ClockRecord(estimates=found, lines=[])

    def _table(self, name: str) -> pd.DataFrame:
        path = self.folder / f"{name}.parquet"
        try:
            table = pq.read_table(path)
        except FileNotFoundError as error:
            raise RecordError(
                f"{path}: missing; was the run ended before it collected? testbed run --resume"
            ) from error
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
    manifest = read_document(folder / "manifest.json", Manifest)
    if manifest.schema != SCHEMA_VERSION:
        raise RecordError(f"{folder}: recorded with schema {manifest.schema}, this testbed reads {SCHEMA_VERSION}")
    status_path = folder / "status.json"
    return Cell(folder, manifest, read_document(status_path, Status) if status_path.exists() else None)


def read_campaign(folder: Path) -> list[Cell]:
    """Open every cell of an experiment's results, in the order of the experiment file.

    Raises:
        RecordError: there is no such folder, it holds no cells, or one of them is damaged.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such results; testbed run makes them")
    cells = [read_cell(path.parent) for path in sorted(folder.glob("*/manifest.json"))]
    if not cells:
        raise RecordError(f"{folder}: holds no measured cells")
    return sorted(cells, key=lambda cell: int(cell.manifest.config.get("position", 0)))


def read_document(path: Path, kind: type[DocumentT]) -> DocumentT:
    """Read a JSON document into its type.

    Raises:
        RecordError: it is missing or not of that type.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RecordError(f"{path}: not what was expected: {error}") from error
