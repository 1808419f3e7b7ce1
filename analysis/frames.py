"""An experiment's results as pandas frames: nobody has to join a CSV with manifests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.factors import FACTORS
from analysis.metrics.measured import Measured
from analysis.metrics.registry import measure, metrics
from analysis.summary import summary_columns, summary_row
from testbed.errors import RecordError
from testbed.record.layout import CellFolder
from testbed.record.reader import Cell, read_campaign
from testbed.record.tables import TABLES, arrow_schema

_DTYPES = {"text": "category", "number": "float64", "integer": "Int64", "boolean": "boolean"}


@dataclass(frozen=True)
class Frames:
    """One experiment. Each frame is read when it is asked for, and kept.

    Every row of every frame says its `cell`, its cell's label, whether that cell is `valid` and all its factors
    (`analysis.factors`). Nothing is dropped: cells that are invalid or not complete have False or <NA> in `valid`.

    Attributes:
        folder: the experiment's results.
        measured: its cells with all metrics.
        damage: a line for each piece that is missing or torn.
    """

    folder: Path
    measured: Sequence[Measured]
    damage: tuple[str, ...]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row per cell: the columns of `summary.csv`, in their types and not rounded."""
        every = metrics()
        rows = [summary_row(one, every) for one in self.measured]
        frame = pd.DataFrame(rows, columns=summary_columns(every))
        kinds = {factor.name: _DTYPES[factor.kind] for factor in FACTORS}
        texts = dict.fromkeys(("cell", "label"), "category")
        return frame.astype({**kinds, **texts, "valid": "boolean"})

    @property
    def cells(self) -> pd.DataFrame:
        """A row per cell, without its metrics: what tells the cells apart."""
        return self.summary[["cell", "label", "valid", *(factor.name for factor in FACTORS), "reasons"]]

    @property
    def varying(self) -> list[str]:
        """The factors that are not the same in all cells."""
        names = [factor.name for factor in FACTORS]
        return [name for name in names if self.summary[name].nunique(dropna=False) > 1]

    @cached_property
    def requests(self) -> pd.DataFrame:
        """A row per request. `label` is the sample's class, `cell_label` the cell's name for people."""
        return self._rows("requests")

    @cached_property
    def timesteps(self) -> pd.DataFrame:
        """A row per timestep of a request."""
        return self._rows("timesteps")

    @cached_property
    def power(self) -> pd.DataFrame:
        """A row per power sample."""
        return self._rows("power")

    @cached_property
    def network(self) -> pd.DataFrame:
        """A row per reading of a way's counters."""
        return self._rows("network")

    def sql(self, query: str) -> pd.DataFrame:
        """DuckDB's answer to a query over what lies on disk, for campaigns that are larger than memory.

        The tables are `requests`, `timesteps`, `power` and `network` with the column `cell`, and `summary`:
        `select codec, avg(latency_ms) from requests join summary using (cell) where valid group by codec`.
        """
        import duckdb

        with duckdb.connect() as database:
            database.register("summary", self.summary)
            for name in TABLES:
                paths = [str(CellFolder(one.cell.folder).table(name)) for one in self._with(name)]
                if paths:
                    rows = database.read_parquet(paths, union_by_name=True, filename=True)
                    rows.project("parse_filename(parse_dirpath(filename)) as cell, * exclude (filename)").create_view(
                        name
                    )
            return database.execute(query).df()

    def _with(self, table: str) -> list[Measured]:
        return [one for one in self.measured if CellFolder(one.cell.folder).table(table).exists()]

    def _rows(self, table: str) -> pd.DataFrame:
        """The rows of all cells. What cannot be read is in `damage`, and was told when the results were loaded."""
        frames: list[pd.DataFrame] = []
        numbers: list[int] = []
        for number, one in enumerate(self.measured):
            found = _read(one.cell, table)
            if found is not None:
                frames.append(found)
                numbers += [number] * len(found)
        rows = pd.concat(frames, ignore_index=True) if frames else arrow_schema(TABLES[table]).empty_table().to_pandas()
        of_cells = self.cells.drop(columns="reasons").rename(columns={"label": "cell_label"})
        repeated = of_cells.take(np.asarray(numbers, dtype=np.int64)).reset_index(drop=True)
        joined: pd.DataFrame = pd.concat([repeated, rows], axis=1)
        return joined


def read(folder: str | Path) -> Frames:
    """Read and measure an experiment's results; what is missing or torn is a warning, and in `damage`.

    Raises:
        RecordError: there is no such folder, or it holds no cell that can be read.
    """
    damage: list[str] = []
    measured = measure(read_campaign(Path(folder), damage.append))
    for line in damage:
        warnings.warn(line, stacklevel=3)
    return Frames(Path(folder), measured, tuple(damage))


def _read(cell: Cell, table: str) -> pd.DataFrame | None:
    if not CellFolder(cell.folder).table(table).exists():
        return None
    try:
        # A copy's tables go with the copy, where the cell's would be kept beside the frame.
        return pd.DataFrame(getattr(Cell(cell.folder, cell.manifest, cell.status), table))
    except RecordError:
        return None
