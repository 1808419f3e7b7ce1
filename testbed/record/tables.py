"""Row logs to Parquet: what the nodes appended becomes the tables of a cell, and how these are read back.

Each page has a checksum, which is compared at reading: a bit that fell over on a disk becomes no number.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from devices.base.power import PowerRow
from testbed.errors import RecordError
from testbed.record.log import RowT, read_rows, write_atomically
from testbed.record.schema import SCHEMA_VERSION, NetworkRow, RequestRow, TimestepRow

TABLES: dict[str, type[msgspec.Struct]] = {
    "requests": RequestRow,
    "timesteps": TimestepRow,
    "power": PowerRow,
    "network": NetworkRow,
}
"""The Parquet tables of a cell and the rows they hold."""

AGAIN = "testbed run makes it again from raw/"
"""What mends a table: what the nodes appended is still there."""

_MOST_WORDS = 200
_ARROW = {int: pa.int64(), float: pa.float64(), str: pa.string()}


@functools.cache
def arrow_schema(row_type: type[msgspec.Struct]) -> pa.Schema:
    """The Arrow schema of a row: nullable exactly where the row allows None."""
    fields = []
    for name, hint in typing.get_type_hints(row_type).items():
        options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        plain = next(option for option in options if option is not type(None))
        fields.append(pa.field(name, _arrow_type(plain), nullable=type(None) in options))
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION)})


@functools.cache
def _later(row_type: type[msgspec.Struct]) -> list[str]:
    """The columns that a table may lack, as it was written before there were any."""
    return [field.name for field in msgspec.structs.fields(row_type) if field.default is None]


def _arrow_type(hint: Any) -> pa.DataType:
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is Literal:
        return pa.string()
    return _ARROW[hint]


def write_table(
    path: Path,
    row_type: type[RowT],
    logs: Iterable[Path],
    added_to: Callable[[Iterable[RowT]], Iterable[RowT]] = iter,
) -> int:
    """Gather row logs into one Parquet file, atomically; returns the number of rows.

    Args:
        path: of the Parquet file.
        row_type: of the rows.
        logs: in the order of the rows.
        added_to: gives the rows with what became known of them later.

    Raises:
        RecordError: a log holds something else.
    """
    found = (row for log in logs for row in read_rows(log, row_type))
    rows = [msgspec.structs.asdict(row) for row in added_to(found)]
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=arrow_schema(row_type))
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    write_atomically(path, sink.getvalue().to_pybytes())
    return len(rows)


def read_table(path: Path, row_type: type[msgspec.Struct], columns: Sequence[str] = ()) -> pa.Table:
    """Read a table of a cell back, with its checksums compared.

    A column that came after the table was written is empty in it, where its row has None for what was not recorded.

    Args:
        path: the table.
        row_type: the rows that it holds.
        columns: those that are wanted, which must be there; none: all of them.

    Raises:
        RecordError: it is missing, cut, damaged, or has other columns; the text names the file.
    """
    try:
        table = pq.read_table(path, columns=list(columns) or None, page_checksum_verification=True)
        table.validate(full=True)
    except FileNotFoundError as error:
        raise RecordError(f"{path}: missing; {AGAIN}") from error
    except Exception as error:  # whatever pyarrow and its decoders make of bytes that are no table
        why = " ".join(str(error).split())[:_MOST_WORDS] or type(error).__name__
        raise RecordError(f"{path}: damaged ({why}); {AGAIN}") from error
    schema = arrow_schema(row_type)
    if columns:
        schema = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
    missing = [name for name in _later(row_type) if name in schema.names and name not in table.column_names]
    for name in missing:
        table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
    if missing and set(table.column_names) == set(schema.names):
        table = table.select(schema.names)
    if not table.schema.equals(schema):
        raise RecordError(f"{path}: its columns are not those of schema {SCHEMA_VERSION}")
    return table
